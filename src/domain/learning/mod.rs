//! What is owed by when: courses and enrollments.

pub mod course;
pub mod enrollment;
