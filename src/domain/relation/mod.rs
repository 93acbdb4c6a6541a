//! Who knows whom: customer-defined entities, their records, and typed edges between records.

pub mod crm_record;
pub mod entity;
pub mod id;
pub mod relationship;
pub mod relationship_type;
