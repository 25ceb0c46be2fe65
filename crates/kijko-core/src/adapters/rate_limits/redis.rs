//! Windows in Redis, for all processes together; while it is away, those of this process.
//!
//! One script decides about all windows of a request: one round trip, and nobody comes in between. The moments are
//! those of Redis's own clock: the clocks of several machines differ, and a log whose moments are out of order would
//! let in more than the limit. Keys are `kijko:limit:{<counter>:<subject>}:<seconds>`, and expire with their window.
//!
//! There is a connection, or there is none and a task looks for one. Whoever finds out that it is lost says so, once;
//! until the next one is there, no request waits for Redis.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};

use super::LocalLimits;
use crate::domain::limits::{Answer, Found, MOST_WINDOWS, Question};
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::rate_limits::RateLimits;

/// KEYS are lists of moments in milliseconds, the oldest first, one for each window. ARGV: limit and milliseconds of
/// each. The reply: 1 or 0 for admitted; then, for each window, how many are in it and when the oldest leaves.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local admitted = 1
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local oldest = redis.call('LINDEX', key, 0)
  -- In batches, since thousands may leave at once, when somebody comes back after half an hour.
  while oldest and oldest + window <= now do
    local gone = 0
    for _, at in ipairs(redis.call('LRANGE', key, 0, 99)) do
      if at + window > now then break end
      gone = gone + 1
    end
    redis.call('LTRIM', key, gone, -1)
    oldest = redis.call('LINDEX', key, 0)
  end
  if redis.call('LLEN', key) >= limit then admitted = 0 end
end
local reply = { admitted }
for i, key in ipairs(KEYS) do
  local window = tonumber(ARGV[2 * i])
  local used
  if admitted == 1 then
    used = redis.call('RPUSH', key, now)
    redis.call('PEXPIRE', key, window)
  else
    used = redis.call('LLEN', key)
  end
  local oldest = redis.call('LINDEX', key, 0)
  reply[#reply + 1] = used
  reply[#reply + 1] = oldest and oldest + window - now or 0
end
return reply
";

/// What a Redis that hangs costs the requests that are under way, once. Not less, or a process that is short of CPU
/// would take Redis for dead, and count by itself just when many ask.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

pub(crate) struct RedisLimits(Arc<Shared>);

struct Shared {
    client: Client,
    script: Script,
    local: LocalLimits,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// One connection for all requests: commands are sent without waiting for the replies to earlier ones.
    connection: Option<MultiplexedConnection>,
    /// Counts the connections, so that a late failure of one is not held against the next.
    number: u64,
}

/// Whether it has the form of a Redis URL.
pub(crate) fn is_redis_url(url: &str) -> bool {
    Client::open(url).is_ok()
}

impl RedisLimits {
    /// Starts without Redis too, and finds it later.
    pub(crate) async fn connect(url: &str) -> Result<Self, RedisError> {
        let shared = Arc::new(Shared {
            client: Client::open(url)?,
            script: Script::new(SCRIPT),
            local: LocalLimits::new(),
            state: RwLock::default(),
        });
        match shared.open().await {
            Ok(connection) => shared.found(connection),
            Err(error) => {
                tracing::warn!(error = %error, "Redis cannot be reached; until it is, this process counts for itself");
                tokio::spawn(look_for_it(Arc::downgrade(&shared)));
            }
        }
        Ok(Self(shared))
    }
}

#[async_trait]
impl RateLimits for RedisLimits {
    async fn count(&self, question: &Question, now: Timestamp) -> Answer {
        let shared = &self.0;
        let Some((mut connection, number)) = shared.connection() else { return shared.local.count_now(question, now) };
        match shared.ask(&mut connection, question).await {
            Ok(answer) => answer,
            Err(error) => {
                shared.lost(number, &error);
                shared.local.count_now(question, now)
            }
        }
    }

    async fn probe(&self) -> Option<Result<()>> {
        let Some((mut connection, number)) = self.0.connection() else {
            return Some(Err(Error::unavailable(Code::DependencyUnavailable, "there is no connection")));
        };
        let answer = redis::cmd("PING").exec_async(&mut connection).await;
        if let Err(error) = &answer {
            self.0.lost(number, error);
        }
        Some(answer.map_err(|error| Error::unavailable(Code::DependencyUnavailable, error)))
    }
}

impl Shared {
    fn connection(&self) -> Option<(MultiplexedConnection, u64)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.connection.clone().map(|connection| (connection, state.number))
    }

    async fn open(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // One that is still loading its data accepts connections and refuses commands.
        redis::cmd("PING").exec_async(&mut connection).await?;
        Ok(connection)
    }

    fn found(&self, connection: MultiplexedConnection) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.connection = Some(connection);
        state.number += 1;
    }

    /// Said once per connection, however many requests find it out.
    fn lost(self: &Arc<Self>, number: u64, error: &RedisError) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.number != number || state.connection.take().is_none() {
            return;
        }
        drop(state);
        tracing::warn!(error = %error, "Redis was lost; until it is back, this process counts for itself");
        tokio::spawn(look_for_it(Arc::downgrade(self)));
    }

    async fn ask(&self, connection: &mut MultiplexedConnection, question: &Question) -> Result<Answer, RedisError> {
        let (counter, subject) = (question.counter.name(), question.subject.as_u128());
        let mut call = self.script.prepare_invoke();
        for window in question.windows {
            call.key(format!("kijko:limit:{{{counter}:{subject:032x}}}:{}", window.seconds));
            call.arg(window.limit).arg(u64::from(window.seconds) * 1000);
        }
        let reply: Vec<i64> = call.invoke_async(connection).await?;
        let at = |i: usize| reply.get(i).copied().unwrap_or_default();
        let mut found = [Found::default(); MOST_WINDOWS];
        for (i, found) in found.iter_mut().enumerate().take(question.windows.len()) {
            *found = Found {
                used: u32::try_from(at(1 + 2 * i)).unwrap_or_default(),
                frees_in_ms: u64::try_from(at(2 + 2 * i)).unwrap_or_default(),
            };
        }
        Ok(Answer { admitted: at(0) == 1, found })
    }
}

async fn look_for_it(shared: Weak<Shared>) {
    let mut wait = FIRST_RETRY;
    loop {
        tokio::time::sleep(wait).await;
        wait = LAST_RETRY.min(wait * 2);
        let Some(shared) = shared.upgrade() else { return };
        if let Ok(connection) = shared.open().await {
            shared.found(connection);
            tracing::info!("Redis is back; limits are counted for all processes again");
            return;
        }
    }
}
