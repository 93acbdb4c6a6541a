//! What is brought to people: messages, their wording, and the attempts to send them.

pub mod attempt;
pub mod message;
pub mod outbox;
pub mod template;
