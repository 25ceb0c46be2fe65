//! Logs: one JSON object per line, or text for people. Members that could hold personal data or secrets are dropped
//! by name, wherever they come from.

use std::fmt;
use std::io::IsTerminal;

use chrono::SecondsFormat;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Config, LogFormat};

/// Never in a log, at any depth.
const DROPPED: [&str; 14] = [
    "email",
    "name",
    "full_name",
    "phone",
    "address",
    "ip_address",
    "user_agent",
    "password",
    "token",
    "authorization",
    "cookie",
    "body",
    "prompt",
    "secret",
];

/// Starts logging to standard output; call it once.
pub fn init(config: &Config) {
    // A level alone is about us; the engine and the driver tell every step of theirs at that level.
    let level = &config.log_level;
    let directives =
        if level.contains('=') { level.clone() } else { format!("{level},graphile_worker=warn,sqlx=warn") };
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match config.log_format {
        LogFormat::Json => builder.event_format(JsonLines).init(),
        LogFormat::Text => {
            let builder = builder.compact().with_target(false).with_writer(std::io::stderr);
            // Colours are for people who look at it now, not for files.
            match std::io::stderr().is_terminal() {
                true => builder.init(),
                false => builder.with_ansi(false).init(),
            }
        }
    }
}

struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line(String::with_capacity(512));
        #[expect(clippy::disallowed_methods, reason = "a log line tells the real time, also in tests")]
        let now = chrono::Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        line.put("ts", now);
        line.put("level", event.metadata().level().as_str());
        line.put("target", event.metadata().target());
        event.record(&mut line);
        writeln!(writer, "{}}}", line.0)
    }
}

/// A JSON object without its last brace, written as it comes: each request costs a line.
struct Line(String);

impl Line {
    fn put(&mut self, name: &str, value: impl Serialize) {
        let start = if self.0.is_empty() { "{\"" } else { ",\"" };
        let value = serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned());
        self.0.extend([start, name, "\":", &value]);
    }

    fn put_field(&mut self, field: &Field, value: impl Serialize) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        if !DROPPED.contains(&name) {
            self.put(name, value);
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_field(field, masked(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_field(field, masked(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_field(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_field(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_field(field, value);
    }
}

/// Whatever looks like an e-mail address becomes `***`.
fn masked(text: String) -> String {
    if !text.contains('@') {
        return text;
    }
    let address = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        word.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'))
    };
    text.split_inclusive(char::is_whitespace)
        .map(|word| if address(word.trim_end()) { word.replace(word.trim_end(), "***") } else { word.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked_and_other_text_is_not() {
        assert_eq!(masked("sign-in of <ada@example.com> failed".into()), "sign-in of *** failed");
        assert_eq!(masked("a @ b and user@host".into()), "a @ b and user@host");
    }
}
