//! Answers on their way in: server-sent events, cut anywhere, bounded in every direction.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::Response;
use serde_json::Value;

use super::failures;
use super::transport::in_time;
use crate::ports::models::{ModelError, ModelEvent, ModelStream};

const MAX_EVENT_BYTES: usize = 1 << 20;
const MAX_TEXT_BYTES: usize = 8 << 20;

/// What was heard of an answer so far, in the words of one provider.
pub(super) trait Answer: Default + Send + 'static {
    /// Understands the data of one event.
    fn hear(&mut self, data: &[u8], heard: &mut VecDeque<ModelEvent>) -> Result<(), ModelError>;

    /// Whether nothing more has to come. What comes nevertheless is not read.
    fn is_whole(&self) -> bool;

    /// The stream ended, in good order and before the answer was whole.
    fn end(&self) -> Result<(), ModelError> {
        Err(failures::broken_off())
    }

    /// What a refusal means that came instead of a stream; the body is null when it was not JSON.
    fn refusal(status: u16, body: &Value) -> ModelError;
}

pub(super) fn events<A: Answer>(response: Response, inactivity: Duration) -> ModelStream {
    let incoming = Incoming {
        response,
        inactivity,
        chunk: Bytes::new(),
        line: Vec::new(),
        heard: VecDeque::new(),
        answer: A::default(),
    };
    stream::try_unfold(
        incoming,
        |mut incoming| async move { Ok(incoming.next().await?.map(|event| (event, incoming))) },
    )
    .boxed()
}

struct Incoming<A> {
    response: Response,
    inactivity: Duration,
    chunk: Bytes,
    /// The beginning of a line whose end is still to come.
    line: Vec<u8>,
    /// Understood and not yet passed on; one piece of data may hold several events.
    heard: VecDeque<ModelEvent>,
    answer: A,
}

impl<A: Answer> Incoming<A> {
    async fn next(&mut self) -> Result<Option<ModelEvent>, ModelError> {
        loop {
            if let Some(event) = self.heard.pop_front() {
                return Ok(Some(event));
            }
            if self.answer.is_whole() {
                return Ok(None);
            }
            match self.next_data().await? {
                Some(data) => self.answer.hear(&data, &mut self.heard)?,
                None => return self.answer.end().map(|()| None),
            }
        }
    }

    /// None at the end of the stream.
    async fn next_data(&mut self) -> Result<Option<Vec<u8>>, ModelError> {
        loop {
            if let Some(data) = take_data(&mut self.line, &mut self.chunk)? {
                return Ok(Some(data));
            }
            match in_time(self.inactivity, self.response.chunk()).await? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(None),
            }
        }
    }
}

/// Takes the data of the next server-sent event out of a line begun earlier and this chunk; None when more is needed.
///
/// In all these APIs the data is one line that says everything, so no other line matters. The crate
/// `eventsource-stream` would panic on a byte order mark and keep a line of any length.
fn take_data(line: &mut Vec<u8>, chunk: &mut Bytes) -> Result<Option<Vec<u8>>, ModelError> {
    while !chunk.is_empty() {
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let piece = chunk.split_to(end.map_or(chunk.len(), |end| end + 1));
        if line.len() + piece.len() > MAX_EVENT_BYTES {
            return Err(failures::malformed());
        }
        line.extend_from_slice(&piece);
        if end.is_some() {
            let line = std::mem::take(line);
            if let Some(data) = line.strip_prefix(b"data:") {
                return Ok(Some(data.trim_ascii().to_vec()));
            }
        }
    }
    Ok(None)
}

/// The text of an answer: how much there was, and of which kind the database can keep it.
#[derive(Default)]
pub(super) struct Text {
    bytes: usize,
}

impl Text {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The next piece as an event; none when nothing is left of it.
    pub(super) fn piece(&mut self, text: &str) -> Result<Option<ModelEvent>, ModelError> {
        // PostgreSQL cannot store U+0000.
        let text = text.replace('\0', "");
        self.bytes += text.len();
        if self.bytes > MAX_TEXT_BYTES {
            return Err(failures::too_long());
        }
        Ok(Some(text).filter(|text| !text.is_empty()).map(ModelEvent::Text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_not_kept_beyond_its_bound() {
        let mut line = vec![b'x'; MAX_EVENT_BYTES];
        let mut chunk = Bytes::from_static(b"x");
        assert!(take_data(&mut line, &mut chunk).is_err(), "an endless line must not fill the memory");
    }

    #[test]
    fn an_answer_is_not_kept_beyond_its_bound() {
        let mut text = Text { bytes: MAX_TEXT_BYTES };
        assert!(text.piece("x").is_err(), "an endless answer must not fill the memory");
    }

    #[test]
    fn data_is_found_however_the_bytes_are_cut() {
        let whole = b"\xef\xbb\xbf: hello\r\nevent: x\r\ndata: {\"a\": 1}\r\n\r\ndata:[DONE]\n\nid: 3\n";
        for size in 1..whole.len() {
            let mut line = Vec::new();
            let mut found = Vec::new();
            for chunk in whole.chunks(size) {
                let mut chunk = Bytes::copy_from_slice(chunk);
                while let Some(data) = take_data(&mut line, &mut chunk).expect("short lines") {
                    found.push(String::from_utf8(data).expect("UTF-8"));
                }
            }
            assert_eq!(found, ["{\"a\": 1}", "[DONE]"], "in pieces of {size}");
        }
    }
}
