//! What was found, as it is told.

use std::collections::BTreeMap;
use std::fmt::Display;

/// Faults of one sort that are told; of more, how many.
const TOLD: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Records looked at, deleted ones included.
    pub records: usize,
    /// What is wrong, a sentence each, of each sort a hundred at the most, and how many more there are of
    /// it; empty when all is well.
    pub faults: Vec<String>,
    /// How much is wrong.
    pub count: usize,
    /// What is worth knowing, and not wrong.
    pub notes: Vec<String>,
}

/// Findings on their way.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Findings,
    sorts: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Takes in a fault.
    pub(super) fn tell(&mut self, sort: &'static str, words: impl Display) {
        let count = self.sorts.entry(sort).or_default();
        *count += 1;
        self.findings.count += 1;
        if *count <= TOLD {
            self.findings.faults.push(format!("{sort}: {words}"));
        }
    }

    /// Takes in what is no fault.
    pub(super) fn note(&mut self, words: impl Display) {
        self.findings.notes.push(words.to_string());
    }

    pub(super) fn count_records(&mut self, count: usize) {
        self.findings.records += count;
    }

    pub(super) fn close(self) -> Findings {
        let Self { mut findings, sorts } = self;
        for (sort, count) in sorts {
            if count > TOLD {
                findings.faults.push(format!("{sort}: {} more", count - TOLD));
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_a_hundred_faults_of_a_sort_are_counted() {
        let mut report = Report::default();
        for n in 0..250 {
            report.tell("many", n);
        }
        report.tell("one", "alone");
        let findings = report.close();
        assert_eq!(findings.count, 251);
        assert_eq!(findings.faults.len(), 102);
        assert_eq!(
            findings.faults.get(99..),
            Some(&["many: 99", "one: alone", "many: 150 more"].map(str::to_owned)[..])
        );
    }
}
