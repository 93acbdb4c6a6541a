//! Lists that may be long: how many rows a page has is the caller's to say, so what is long is made while
//! it is sent, as the client takes it.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream;

use super::{Answer, Call, Paid, Refusal};
use crate::app::App;
use crate::budget::Held;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::payer::Payer;

/// Rows that are read at once, the first time and at the most, and about how many bytes they make.
const PART: (usize, usize, usize) = (20, 200, 256 * 1024);
/// The longest answers that are made before they are sent: rows, and bytes.
const WHOLE: (usize, usize) = (1000, 1024 * 1024);

/// What a list's answer is made of.
#[derive(Clone, Copy, Debug)]
pub enum Piece {
    /// A text.
    Text(&'static str),
    /// All rows, with commas between them.
    Rows,
    /// A number.
    Number(i64),
}

/// An answer on its way: what is still to be sent of it.
struct Sheet<W> {
    app: App,
    payer: Payer,
    pieces: VecDeque<Piece>,
    ids: Vec<i64>,
    /// How many of the rows were read, and whether there was anything in them.
    read: (usize, bool),
    /// How many are read next.
    part: usize,
    /// What the ids of a long one take.
    _held: Held,
    write: W,
}

/// The answer that `answer` makes of a body of `pieces`. Its rows are those with these ids, as `write`
/// makes them: JSON, a comma between any two. What was deleted since the ids were found is left out.
///
/// # Errors
/// What `write` refuses, of the rows before the first that is sent.
pub async fn answer<W>(
    call: &Call,
    pieces: impl IntoIterator<Item = Piece>,
    ids: Vec<i64>,
    write: W,
    answer: impl FnOnce(Vec<u8>) -> Answer,
) -> Result<Answer, Refusal>
where
    W: Fn(&[i64], &Facts) -> Known<Vec<u8>> + Send + Sync + 'static,
{
    let (app, payer) = (call.app.clone(), call.payer());
    let pieces = pieces.into_iter().collect();
    let (rows_max, bytes_max) = WHOLE;
    let mut body = Vec::new();
    let is_long = ids.len() > rows_max;
    let mut held = app.memory.answers.hold(payer);
    if is_long {
        held.wait(ids.len() * size_of::<i64>()).await?;
    }
    let (part, ..) = PART;
    let mut sheet = Sheet { app, payer, pieces, ids, read: (0, false), part, _held: held, write };
    // The first part in any case: what is at fault there is still to be told.
    while sheet.write_on(&mut body).await? && !is_long && body.len() < bytes_max {
        // It must not keep others from being served.
        tokio::task::yield_now().await;
    }
    if !sheet.pieces.is_empty() {
        call.follow_with(Box::pin(stream::unfold(Some(sheet), send_on)));
    }
    Ok(answer(body))
}

/// The next part of a body; a fault is its end.
async fn send_on<W>(sheet: Option<Sheet<W>>) -> Option<(Result<Bytes, Error>, Option<Sheet<W>>)>
where
    W: Fn(&[i64], &Facts) -> Known<Vec<u8>>,
{
    let mut sheet = sheet.filter(|sheet| !sheet.pieces.is_empty())?;
    // Who takes them as fast as they come would keep this thread from everybody else.
    tokio::task::yield_now().await;
    let mut held = sheet.app.memory.answers.hold(sheet.payer);
    let mut body = Vec::new();
    let written = async {
        held.wait(PART.2).await?;
        sheet.write_on(&mut body).await
    };
    match written.await {
        Ok(_) => {
            held.settle(body.len());
            let body = Bytes::from_owner(Paid { body: body.into(), _held: held });
            Some((Ok(body), Some(sheet)))
        }
        Err(error) => {
            tracing::warn!(error.cause = %error, "a list broke off");
            Some((Err(error), None))
        }
    }
}

impl<W: Fn(&[i64], &Facts) -> Known<Vec<u8>>> Sheet<W> {
    /// Writes what comes next: texts, and rows that are read at once. False when that was all.
    async fn write_on(&mut self, body: &mut Vec<u8>) -> Result<bool, Error> {
        while let Some(piece) = self.pieces.front() {
            match piece {
                Piece::Text(text) => body.extend_from_slice(text.as_bytes()),
                Piece::Number(number) => body.extend_from_slice(number.to_string().as_bytes()),
                Piece::Rows => {
                    let (from, has_any) = self.read;
                    let to = self.ids.len().min(from + self.part);
                    let part = self.ids.get(from..to).unwrap_or_default();
                    if !part.is_empty() {
                        let rows = self.app.store.read(|facts| (self.write)(part, facts)).await?;
                        if has_any && !rows.is_empty() {
                            body.push(b',');
                        }
                        body.extend_from_slice(&rows);
                        let (_, most, bytes) = PART;
                        self.part = (bytes * part.len() / rows.len().max(1)).clamp(1, most);
                        self.read = (to, has_any || !rows.is_empty());
                        return Ok(true);
                    }
                    self.read = (0, false);
                }
            }
            self.pieces.pop_front();
        }
        Ok(false)
    }
}

/// Rows as JSON, a comma between any two.
///
/// # Errors
/// [`Error::Internal`] for one that has no such form.
pub fn rows<T: serde::Serialize>(rows: impl IntoIterator<Item = T>) -> Known<Vec<u8>> {
    let mut written = Vec::new();
    for row in rows {
        if !written.is_empty() {
            written.push(b',');
        }
        serde_json::to_writer(&mut written, &row).map_err(Error::internal)?;
    }
    Ok(written)
}
