//! Whoever has something waiting takes turns, so that no key's crowd holds up another key's few: a ring
//! of keys with a queue each, served by deficit round robin (Shreedhar and Varghese, 1995).

use std::collections::VecDeque;
use std::hash::Hash;

use foldhash::{HashMap, HashMapExt as _};

/// How much may wait, and how large a turn is. Weights are in whatever unit the user of these counts.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Items that may wait for one key.
    pub each: usize,
    /// What those may weigh together; a single one may weigh more.
    pub each_weight: usize,
    /// Items that may wait in all.
    pub in_all: usize,
    /// What all that wait may weigh together.
    pub weight: usize,
    /// What one turn may take; what is heavier saves up over several.
    pub quantum: usize,
}

/// What becomes of the item whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// It is taken.
    Go,
    /// Its key is passed over for now.
    Skip,
    /// Nothing more is taken when its turn has come: whatever would fit behind it may not overtake it for
    /// ever.
    Stop,
}

/// See the module. A key that has nothing waiting costs nothing.
#[derive(Debug)]
pub struct Turns<K, T> {
    bounds: Bounds,
    lines: HashMap<K, Line<T>>,
    ring: VecDeque<K>,
    /// The key in front was given what its turn allows.
    is_begun: bool,
    count: usize,
    weight: usize,
}

#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<(usize, T)>,
    weight: usize,
    credit: usize,
}

impl<K: Clone + Eq + Hash, T> Turns<K, T> {
    /// Nobody waits.
    pub fn new(bounds: Bounds) -> Self {
        let (lines, ring) = (HashMap::new(), VecDeque::new());
        Self { bounds, lines, ring, is_begun: false, count: 0, weight: 0 }
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when none does.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts an item behind those of its key.
    ///
    /// # Errors
    /// The item, where there is no room for it.
    pub fn push(&mut self, key: K, weight: usize, item: T) -> Result<(), T> {
        let Bounds { each, each_weight, in_all, weight: weight_max, .. } = self.bounds;
        let (own, own_weight) =
            self.lines.get(&key).map_or((0, 0), |line| (line.waiting.len(), line.weight));
        // What is too heavy by itself is let in where nobody waits.
        let is_too_heavy = |count, sum: usize, max| count > 0 && sum.saturating_add(weight) > max;
        if own >= each
            || self.count >= in_all
            || is_too_heavy(own, own_weight, each_weight)
            || is_too_heavy(self.count, self.weight, weight_max)
        {
            return Err(item);
        }
        self.count += 1;
        self.weight += weight;
        let ring = &mut self.ring;
        let line = self.lines.entry(key).or_insert_with_key(|key| {
            ring.push_back(key.clone());
            Line { waiting: VecDeque::new(), weight: 0, credit: 0 }
        });
        line.weight += weight;
        line.waiting.push_back((weight, item));
        Ok(())
    }

    /// The item whose turn it is, where it `may` be taken; it is asked with the key and the weight.
    pub fn next(&mut self, mut may: impl FnMut(&K, usize) -> May) -> Option<(K, T)> {
        let mut skipped = 0;
        while skipped < self.ring.len() {
            let key = self.ring.front()?;
            let line = self.lines.get_mut(key)?;
            let weight = line.waiting.front()?.0;
            let may = may(key, weight);
            if may == May::Skip {
                skipped += 1;
                self.rotate();
                continue;
            }
            skipped = 0;
            if !self.is_begun {
                line.credit += self.bounds.quantum;
                self.is_begun = true;
            }
            if line.credit < weight && self.ring.len() > 1 {
                self.rotate();
                continue;
            }
            if may == May::Stop {
                return None;
            }
            line.credit = line.credit.saturating_sub(weight);
            line.weight -= weight;
            let (_, item) = line.waiting.pop_front()?;
            let is_last = line.waiting.is_empty();
            let key = key.clone();
            if is_last {
                self.lines.remove(&key);
                self.ring.pop_front();
                self.is_begun = false;
            }
            self.count -= 1;
            self.weight -= weight;
            return Some((key, item));
        }
        None
    }

    fn rotate(&mut self) {
        self.ring.rotate_left(1);
        self.is_begun = false;
    }

    /// Takes out what waits for a key, with the weights.
    pub fn take_out(&mut self, key: &K) -> Vec<(usize, T)> {
        let Some(line) = self.lines.remove(key) else { return Vec::new() };
        self.is_begun &= self.ring.front() != Some(key);
        self.ring.retain(|other| other != key);
        self.count -= line.waiting.len();
        self.weight -= line.weight;
        line.waiting.into()
    }

    /// Takes out the items that match. Looks at all of them.
    pub fn take_if(&mut self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for line in self.lines.values_mut() {
            for _ in 0..line.waiting.len() {
                let Some((weight, item)) = line.waiting.pop_front() else { break };
                if matches(&item) {
                    self.count -= 1;
                    self.weight -= weight;
                    line.weight -= weight;
                    taken.push(item);
                } else {
                    line.waiting.push_back((weight, item));
                }
            }
        }
        if !taken.is_empty() {
            let front = self.ring.front().cloned();
            self.lines.retain(|_, line| !line.waiting.is_empty());
            self.ring.retain(|key| self.lines.contains_key(key));
            self.is_begun &= self.ring.front() == front.as_ref();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds {
        each: 1000,
        each_weight: 1_000_000,
        in_all: 10_000,
        weight: 1_000_000,
        quantum: 10,
    };

    fn all(turns: &mut Turns<char, u32>) -> String {
        std::iter::from_fn(|| turns.next(|_, _| May::Go)).map(|(key, _)| key).collect()
    }

    #[test]
    fn a_crowd_does_not_hold_up_the_few() {
        let mut turns = Turns::new(WIDE);
        for n in 0..6 {
            turns.push('a', 5, n).unwrap();
        }
        turns.push('b', 5, 0).unwrap();
        turns.push('c', 25, 0).unwrap();
        turns.push('c', 5, 1).unwrap();
        assert_eq!(all(&mut turns), "aabaaaacc", "what is heavier saves up");
        assert!(turns.is_empty() && turns.lines.is_empty() && turns.ring.is_empty());
        assert_eq!(turns.weight, 0);
    }

    #[test]
    fn nobody_saves_up_while_nothing_waits() {
        let mut turns = Turns::new(WIDE);
        for _ in 0..10 {
            turns.push('a', 1, 0).unwrap();
            assert_eq!(all(&mut turns), "a");
        }
        for n in 0..4 {
            turns.push('a', 5, n).unwrap();
            turns.push('b', 5, n).unwrap();
        }
        assert_eq!(all(&mut turns), "aabbaabb");
    }

    #[test]
    fn the_order_of_one_key_stays() {
        let mut turns = Turns::new(WIDE);
        for n in 0..20 {
            turns.push(if n % 3 == 0 { 'a' } else { 'b' }, 7, n).unwrap();
        }
        let mut seen = HashMap::<char, Vec<u32>>::new();
        while let Some((key, n)) = turns.next(|_, _| May::Go) {
            seen.entry(key).or_default().push(n);
        }
        assert!(seen.values().all(|numbers| numbers.is_sorted()));
        assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 20);
    }

    #[test]
    fn what_has_no_room_is_given_back() {
        let bounds = Bounds { each: 2, each_weight: 8, in_all: 3, weight: 10, quantum: 1 };
        let mut turns = Turns::new(bounds);
        assert_eq!(turns.push('a', 11, 1), Ok(()), "alone, it may weigh what it likes");
        assert_eq!(turns.push('b', 1, 2), Err(2));
        assert_eq!(all(&mut turns), "a");
        assert_eq!(turns.push('a', 1, 1), Ok(()));
        assert_eq!(turns.push('a', 1, 2), Ok(()));
        assert_eq!(turns.push('a', 1, 3), Err(3));
        assert_eq!(turns.push('b', 9, 4), Err(4));
        assert_eq!(turns.push('b', 8, 5), Ok(()));
        assert_eq!(turns.push('c', 0, 6), Err(6));
        assert_eq!(all(&mut turns).len(), 3);
        assert_eq!(turns.push('a', 5, 1), Ok(()));
        assert_eq!(turns.push('a', 4, 2), Err(2), "one key's share");
        assert_eq!(turns.push('b', 5, 3), Ok(()), "the rest is others'");
    }

    #[test]
    fn what_does_not_fit_ends_nobodys_turn_but_its_own() {
        let mut turns = Turns::new(WIDE);
        turns.push('h', 100, 0).unwrap();
        for n in 0..30 {
            turns.push('a', 5, n).unwrap();
        }
        // There is room for half of what the heavy one weighs, and it has saved up for less.
        let (mut room, mut taken) = (50, String::new());
        while let Some((key, _)) =
            turns.next(|_, weight| if weight <= room { May::Go } else { May::Stop })
        {
            room -= 5;
            taken.push(key);
        }
        assert_eq!(taken, "aaaaaaaaaa");
        // Its turn comes, and then it is first.
        let first = std::iter::repeat_with(|| {
            turns.next(|_, weight| if weight <= 50 { May::Go } else { May::Stop })
        });
        assert_eq!(first.take(20).flatten().count(), 8);
        assert_eq!(turns.next(|_, _| May::Go), Some(('h', 0)));
    }

    #[test]
    fn who_may_not_is_passed_over_and_saves_nothing() {
        let mut turns = Turns::new(WIDE);
        for n in 0..3 {
            turns.push('a', 10, n).unwrap();
            turns.push('b', 10, n).unwrap();
        }
        let not_a = |key: &char, _| if *key == 'a' { May::Skip } else { May::Go };
        for _ in 0..3 {
            assert_eq!(turns.next(not_a).map(|(key, _)| key), Some('b'));
        }
        assert_eq!(turns.next(not_a), None);
        assert_eq!(turns.next(|_, _| May::Stop), None);
        turns.push('b', 10, 9).unwrap();
        assert_eq!(all(&mut turns), "abaa");
    }

    #[test]
    fn what_is_taken_out_is_gone() {
        let mut turns = Turns::new(WIDE);
        for n in 0..4 {
            turns.push('a', 2, n).unwrap();
            turns.push('b', 3, n).unwrap();
        }
        assert_eq!(turns.take_out(&'a'), [(2, 0), (2, 1), (2, 2), (2, 3)]);
        assert_eq!(turns.take_out(&'a'), []);
        assert_eq!((turns.len(), turns.weight), (4, 12));
        assert_eq!(turns.take_if(|n| n % 2 == 0), [0, 2]);
        assert_eq!((turns.len(), turns.weight), (2, 6));
        assert_eq!(turns.take_if(|_| true), [1, 3]);
        assert!(turns.is_empty() && turns.lines.is_empty() && turns.ring.is_empty());
    }
}
