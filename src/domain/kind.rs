//! The list of record types. A new type is one line here; everything that works on any record
//! (stores, history, undo, integrity check) finds it through [`Kind`].

use std::sync::{Arc, LazyLock};

use super::command::{self, Context, Write};
use super::error::{Error, FieldErrors};
use super::facts::{Facts, Known};
use super::fields::{self, Fields, Unknown};
use super::record::{AnyRecord, Document, Key, Record};
use super::table::{Gone, Table};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $record:path),+ $(,)?) => {
        /// What a record is. The order is the order in which rows are written and locked: a kind
        /// stands behind those that it refers to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $kind),+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// How records of the kind are stored.
            pub const fn table(self) -> &'static Table {
                match self { $(Self::$kind => &<$record as Record>::TABLE),+ }
            }

            /// A record with the fields of `candidate`, and what follows from these.
            pub(super) fn settled(
                self,
                current: &Document,
                candidate: &Document,
                context: &mut Context<'_>,
                facts: &mut Facts,
            ) -> Known<Document> {
                match self {
                    $(Self::$kind => {
                        command::settled::<$record>(current, candidate, context, facts)
                    })+
                }
            }

            /// Refuses a record that comes back, or goes back, against the kind's rules.
            pub(super) fn judge(
                self,
                before: &Document,
                after: &Document,
                facts: &mut Facts,
            ) -> Known<()> {
                match self {
                    $(Self::$kind => command::judge::<$record>(before, after, facts)),+
                }
            }

            /// Reads a record of the kind; see [`fields::read`].
            pub(crate) fn read(
                self,
                columns: Vec<(&'static str, serde_json::Value)>,
                body: &str,
            ) -> Result<(Arc<dyn AnyRecord>, Unknown), serde_json::Error> {
                Ok(match self {
                    $(Self::$kind => {
                        let (record, unknown) = fields::read::<$record>(columns, body)?;
                        (Arc::new(record), unknown)
                    }),+
                })
            }

            /// The fields of a record that says nothing of them; none for a kind that has to say
            /// something. What is as here is not kept in the database: to change one is to change
            /// what records that are kept already say.
            pub fn defaults(self) -> &'static Fields {
                match self {
                    $(Self::$kind => {
                        static DEFAULTS: LazyLock<Fields> = LazyLock::new(|| {
                            let record = fields::read::<$record>(Vec::new(), "{}");
                            record.ok().and_then(|(record, _)| Fields::of(&record).ok()).unwrap_or_default()
                        });
                        &DEFAULTS
                    })+
                }
            }

            /// Where a record is, for scopes.
            pub(super) fn place_of(
                self,
                document: &Document,
                facts: &mut Facts,
            ) -> Known<super::access::Place> {
                match self { $(Self::$kind => command::place_of::<$record>(document, facts)),+ }
            }

            /// Refuses the deletion of a record whose kind does not allow it.
            pub(super) fn refuse_deletion(self, document: &Document) -> Result<(), Error> {
                match self {
                    $(Self::$kind => document.look::<$record>()?.refuse_deletion()),+
                }
            }

            /// The rules of a live record that hold for as long as it stands, and are broken.
            ///
            /// # Errors
            /// [`super::facts::Stop`] when a fact is missing.
            pub fn broken(self, document: &Document, facts: &mut Facts) -> Known<FieldErrors> {
                match self {
                    $(Self::$kind => document.look::<$record>()?.broken(&document.meta, facts)),+
                }
            }

            /// The kinds whose records this one may name elsewhere than in columns, and what becomes
            /// of it when such a record is deleted.
            pub const fn names_in_body(self) -> &'static [(Self, Gone)] {
                match self { $(Self::$kind => <$record as Record>::NAMES_IN_BODY),+ }
            }

            /// The records that a document names, its fields read as their type.
            ///
            /// # Errors
            /// [`Error::Internal`] naming the record and what is wrong, when they do not.
            pub fn references(self, document: &Document) -> Result<Vec<(Self, Key)>, Error> {
                let mut named = self.named_in_body(document)?;
                named.extend(document.named_in_columns()?);
                Ok(named)
            }

            /// Those of them that it names elsewhere than in columns.
            ///
            /// # Errors
            /// As [`Kind::references`].
            pub fn named_in_body(self, document: &Document) -> Result<Vec<(Self, Key)>, Error> {
                Ok(match self {
                    $(Self::$kind => document.look::<$record>()?.named_in_body()),+
                })
            }

            /// Decides that a record no longer names these; none where nothing differs.
            pub(super) fn decide_forget(
                self,
                named: &[(Self, Key)],
                before: Arc<Document>,
                context: &mut Context<'_>,
                facts: &mut Facts,
            ) -> Known<Option<Write>> {
                match self {
                    $(Self::$kind => {
                        command::decide_forget::<$record>(named, before, context, facts)
                    })+
                }
            }
        }
    };
}

kinds! {
    /// One customer.
    Account => super::people::account::Account,
    /// A part of an account's organisation tree.
    Department => super::people::department::Department,
    /// A named set of permissions.
    Role => super::people::role::Role,
    /// A human in an account.
    Person => super::people::person::Person,
    /// What a caller proves itself with.
    Credential => super::people::credential::Credential,
    /// An uploaded picture.
    Image => super::certificate::image::Image,
    /// A count of wrong guesses.
    Throttle => super::people::throttle::Throttle,
    /// How a certificate or badge looks.
    Design => super::certificate::design::Design,
    /// The template of an award.
    Form => super::certificate::form::Form,
    /// An issued certificate.
    Achievement => super::certificate::achievement::Achievement,
    /// The news of a certificate, on its way to the holder.
    Message => super::delivery::message::Message,
    /// An instructor.
    Partner => super::teaching::partner::Partner,
    /// An AI model that classes may allow.
    Model => super::teaching::model::Model,
    /// A course: content with a key, dates and default due settings.
    Course => super::learning::course::Course,
    /// A class that a partner teaches.
    Class => super::teaching::class::Class,
    /// A code that lets people into a class.
    InviteCode => super::teaching::invite_code::InviteCode,
    /// A person as a partner knows it.
    Student => super::teaching::student::Student,
    /// A student's membership of a class.
    Membership => super::teaching::membership::Membership,
    /// The sign-in realm of an account.
    Tenant => super::sign_in::tenant::Tenant,
    /// An OAuth 2.0 client.
    Application => super::sign_in::application::Application,
    /// A customer-defined table.
    Entity => super::relation::entity::Entity,
    /// A row of an entity.
    CrmRecord => super::relation::crm_record::CrmRecord,
    /// A kind of edge between two entities.
    RelationshipType => super::relation::relationship_type::RelationshipType,
    /// An edge between two CRM records.
    Relationship => super::relation::relationship::Relationship,
    /// A course that a learner owes, with its schedule.
    Enrollment => super::learning::enrollment::Enrollment,
}

impl Kind {
    /// The name used in SQL, URLs, JSON and logs.
    pub const fn name(self) -> &'static str {
        self.table().name
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn defaults_are_those_that_stored_records_rely_on() {
        let defaults: BTreeMap<&str, &Fields> =
            Kind::ALL.iter().map(|kind| (kind.name(), kind.defaults())).collect();
        let mut text = serde_json::to_string_pretty(&defaults).unwrap();
        text.push('\n');
        assert!(
            text == include_str!("../../tests/fixtures/defaults.json"),
            "the body of a stored row leaves out what is as by default. A new field goes into \
             tests/fixtures/defaults.json; to change a default, write the old one into all bodies \
             that lack the field, in a migration. Now they are:\n{text}"
        );
    }
}
