//! What a call can be answered with, whichever API it is: pieces of a body, and what comes after them.

use std::time::Duration;

use serde_json::Value;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[derive(Clone, Debug)]
pub(super) enum Part {
    Event(&'static str, Value),
    /// An event without a name.
    Data(Value),
    Raw(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    End,
    Cut,
    Hang,
}

/// What a call is answered with.
#[derive(Clone, Debug)]
pub struct Reply {
    /// None: not even the head of an answer.
    pub(super) status: Option<u16>,
    headers: Vec<(&'static str, String)>,
    pub(super) parts: Vec<Part>,
    pub(super) then: Then,
    pace: Duration,
    line_end: &'static str,
    chunk_bytes: Option<usize>,
    pub(super) is_held: bool,
}

impl Reply {
    pub fn status(status: u16, body: &str) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status: Some(status), headers, ..Self::stream(vec![Part::Raw(body.into())], Then::End) }
    }

    pub fn retry_after(mut self, value: impl ToString) -> Self {
        self.headers.push(("retry-after", value.to_string()));
        self
    }

    /// The connection is closed before the first byte.
    pub fn cut_before_head() -> Self {
        Self { status: None, ..Self::stream(Vec::new(), Then::Cut) }
    }

    /// Never answers.
    pub fn hang() -> Self {
        Self { status: None, ..Self::stream(Vec::new(), Then::Hang) }
    }

    /// An event stream of exactly these chunks.
    pub fn raw<B: Into<Vec<u8>>>(chunks: impl IntoIterator<Item = B>) -> Self {
        Self::stream(chunks.into_iter().map(|chunk| Part::Raw(chunk.into())).collect(), Then::End)
    }

    // Variations

    /// Waits this long before each piece of text, or before each chunk of `in_chunks_of`.
    pub fn paced(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// Sends nothing until the test calls `Provider::release`.
    pub fn held(self) -> Self {
        Self { is_held: true, ..self }
    }

    /// Line ends of CR and LF.
    pub fn with_crlf(self) -> Self {
        Self { line_end: "\r\n", ..self }
    }

    /// Cuts what is sent into chunks of this many bytes, also within characters.
    pub fn in_chunks_of(self, bytes: usize) -> Self {
        Self { chunk_bytes: Some(bytes), ..self }
    }

    /// The connection is closed after what was sent.
    pub fn cut(self) -> Self {
        Self { then: Then::Cut, ..self }
    }

    /// Falls silent after what was sent.
    pub fn silent(self) -> Self {
        Self { then: Then::Hang, ..self }
    }

    pub(super) fn stream(parts: Vec<Part>, then: Then) -> Self {
        Self {
            status: Some(200),
            headers: vec![("content-type", "text/event-stream; charset=utf-8".to_owned())],
            parts,
            then,
            pace: Duration::ZERO,
            line_end: "\n",
            chunk_bytes: None,
            is_held: false,
        }
    }

    pub(super) fn head(&self, status: u16) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {status} Double\r\ntransfer-encoding: chunked\r\nrequest-id: req_double\r\n");
        head.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        (head + "\r\n").into_bytes()
    }

    /// The body in HTTP chunks, each with the wait before it.
    pub(super) fn chunks(&self) -> Vec<(Duration, Vec<u8>)> {
        let wait = |part: &Part| if part.is_text() { self.pace } else { Duration::ZERO };
        let mut chunks: Vec<_> = self.parts.iter().map(|part| (wait(part), part.bytes(self.line_end))).collect();
        if let Some(size) = self.chunk_bytes {
            let all: Vec<u8> = chunks.into_iter().flat_map(|(_, bytes)| bytes).collect();
            chunks = all.chunks(size).map(|chunk| (self.pace, chunk.to_vec())).collect();
        }
        // A chunk without bytes would be the end.
        chunks.retain(|(_, bytes)| !bytes.is_empty());
        for (_, bytes) in &mut chunks {
            *bytes = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        }
        match (self.then, chunks.last_mut()) {
            // In one write with the last chunk, so that a client that has all it needs never counts as having left.
            (Then::End, Some((_, last))) => last.extend(LAST_CHUNK),
            (Then::End, None) => chunks.push((Duration::ZERO, LAST_CHUNK.to_vec())),
            (Then::Cut | Then::Hang, _) => {}
        }
        chunks
    }
}

impl Part {
    fn is_text(&self) -> bool {
        matches!(self, Part::Event("content_block_delta", _) | Part::Data(_))
    }

    pub(super) fn bytes(&self, end: &str) -> Vec<u8> {
        match self {
            Part::Event(name, data) => format!("event: {name}{end}data: {data}{end}{end}").into_bytes(),
            Part::Data(data) => format!("data: {data}{end}{end}").into_bytes(),
            Part::Raw(bytes) => bytes.clone(),
        }
    }
}
