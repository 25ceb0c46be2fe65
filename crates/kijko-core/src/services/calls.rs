//! One question to a model, asked until there is an answer. The only retry layer there is.
//!
//! It knows nothing of rows and opens no transaction: whoever calls writes down what came of it. Dropping the future
//! of `make` drops the connection to the provider; what was used so far is still told by `cost`.

use std::time::Duration;

use futures_util::StreamExt;
use rust_decimal::{Decimal, RoundingStrategy};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::domain::executions::{Failure, FailureCode, ModelCall, Outcome};
use crate::domain::models::{KeySource, ModelRoute};
use crate::domain::money::{Cost, Usage};
use crate::domain::skills::Parameters;
use crate::ports::models::{ModelError, ModelEvent, ModelRequest, Target};
use crate::services::pieces::Shown;

/// Of one target, after the first attempt.
const RETRIES: u32 = 3;
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
const DEFAULT_MAX_TOKENS: u32 = 4096;
/// A provider that reports more for one attempt is mistaken.
const MOST_TOKENS: u64 = 1_000_000_000;
/// What providers add to mark where a message begins and ends, generously.
const TOKENS_AROUND_A_PROMPT: u64 = 64;

/// What a model is asked, whichever it is.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) system: Option<String>,
    pub(crate) prompt: String,
    pub(crate) parameters: Parameters,
}

/// The question on its way, and what it has used so far.
pub(crate) struct Call<'a> {
    app: &'a App,
    question: Question,
    /// The first choice, then what stands in for it; never empty.
    targets: Vec<Target>,
    /// The target that is asked now, or was asked last.
    asked: usize,
    attempts: i16,
    /// Of the attempts that ended, by target.
    spent: Vec<Option<Usage>>,
    /// Of the attempt that runs.
    current: Option<Usage>,
    /// Where the answer is shown while it is being written.
    shown: Shown<'a>,
}

/// Why one target was given up.
struct GaveUp {
    failure: Failure,
    has_text: bool,
}

/// What another provider may make good.
fn is_down(code: FailureCode) -> bool {
    matches!(code, FailureCode::ServiceUnavailable | FailureCode::ProviderUnreachable | FailureCode::RateLimited)
}

/// The run of a worker that did not come back.
pub(crate) fn lost() -> Failure {
    Failure::new(
        FailureCode::WorkerLost,
        "The run was interrupted and not repeated, since it may already have been charged",
    )
}

impl Question {
    /// What asking may cost at most, in US dollars, as far as that can be known before: the prompt of every attempt that
    /// may be made, and one answer as long as it may become, of the dearest model. A token is at least one byte.
    ///
    /// Attempts that are repeated have shown no text, so their answers are left out; should a provider charge for one
    /// all the same, the run costs more than this, and is charged what it cost.
    pub(crate) fn worst_case(&self, targets: &[Target]) -> Decimal {
        let system = self.system.as_deref().unwrap_or_default();
        let prompt_tokens = (self.prompt.len() + system.len()) as u64 + TOKENS_AROUND_A_PROMPT;
        let attempts = u64::from(RETRIES) + 1;
        let mut prompts = Decimal::ZERO;
        let mut answer = Decimal::ZERO;
        // What the organisation's own key pays for is no cost of ours.
        for Target { route, .. } in targets.iter().filter(|target| target.key_source != KeySource::Own) {
            let completion_tokens = u64::from(request(self, route).max_tokens);
            prompts += route.rates.dollars(Usage { prompt_tokens: prompt_tokens * attempts, completion_tokens: 0 });
            answer = answer.max(route.rates.dollars(Usage { prompt_tokens: 0, completion_tokens }));
        }
        (prompts + answer).round_dp_with_strategy(8, RoundingStrategy::AwayFromZero)
    }
}

impl<'a> Call<'a> {
    /// `run` is what the answer is called for, as clients know it.
    pub(crate) fn new(app: &'a App, run: String, question: Question, targets: Vec<Target>) -> Self {
        let spent = vec![None; targets.len()];
        let shown = Shown::new(app, run);
        Self { app, question, targets, asked: 0, attempts: 0, spent, current: None, shown }
    }

    /// Asks until the answer is whole, a failure is final, the time is up, or the work is abandoned.
    pub(crate) async fn make(&mut self, abandon: &CancellationToken) -> Outcome {
        let limit = self.app.config.runs.hard_limit;
        tokio::select! {
            outcome = self.ask() => outcome,
            () = tokio::time::sleep(limit) => Outcome::Failed(Failure::new(
                FailureCode::ExecutionTimeout,
                format!("The run took longer than {} seconds", limit.as_secs()),
            )),
            () = abandon.cancelled() => Outcome::Failed(lost()),
        }
    }

    /// One target after the other, while they are down and there is time left.
    async fn ask(&mut self) -> Outcome {
        let started = Instant::now();
        loop {
            let gave_up = match self.ask_target(started).await {
                Ok(output) => return Outcome::Completed { output },
                Err(gave_up) => gave_up,
            };
            let is_last = self.asked + 1 == self.targets.len();
            let is_late = started.elapsed() >= self.app.config.runs.soft_limit;
            if is_last || is_late || gave_up.has_text || !is_down(gave_up.failure.code) {
                return Outcome::Failed(self.explained(gave_up.failure));
            }
            self.asked += 1;
            tracing::info!(code = gave_up.failure.code.as_str(), "the provider is down; asking the one that stands in");
        }
    }

    /// Attempts until one succeeds, fails for good, or there is no time left.
    async fn ask_target(&mut self, started: Instant) -> Result<String, GaveUp> {
        let mut retries = 0;
        loop {
            let mut output = String::new();
            let result = self.attempt(&mut output).await;
            self.settle();
            let error = match result {
                Ok(()) => return Ok(output),
                Err(error) => error,
            };
            // Text that was shown cannot be taken back.
            let has_text = !output.is_empty();
            let wait = if has_text { None } else { self.wait_before_retry(&error, retries) };
            match wait {
                Some(wait) if started.elapsed() + wait < self.app.config.runs.soft_limit => {
                    tracing::info!(code = error.failure.code.as_str(), ?wait, "the provider failed; trying again");
                    tokio::time::sleep(wait).await;
                    retries += 1;
                }
                _ => return Err(GaveUp { failure: error.failure, has_text }),
            }
        }
    }

    /// Says whose key it was that a provider refused.
    fn explained(&self, failure: Failure) -> Failure {
        let Target { key_source, route, .. } = &self.targets[self.asked];
        match (failure.code, key_source) {
            (FailureCode::InvalidApiKey, KeySource::Own) => Failure::new(
                failure.code,
                format!(
                    "{} refuses the key that your organisation stored; an owner or administrator can replace it",
                    route.provider.as_str()
                ),
            ),
            _ => failure,
        }
    }

    async fn attempt(&mut self, output: &mut String) -> Result<(), ModelError> {
        self.attempts += 1;
        let target = &self.targets[self.asked];
        let mut stream = target.provider.stream(&request(&self.question, &target.route)).await?;
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                () = self.shown.due() => {
                    self.shown.flush();
                    continue;
                }
            };
            let Some(event) = event else { break };
            match event? {
                ModelEvent::Text(piece) => {
                    output.push_str(&piece);
                    self.shown.push(&piece);
                }
                ModelEvent::Usage { prompt_tokens, completion_tokens } => {
                    let usage = self.current.get_or_insert_default();
                    let told = |tokens: Option<u64>, before| tokens.map_or(before, |tokens| tokens.min(MOST_TOKENS));
                    usage.prompt_tokens = told(prompt_tokens, usage.prompt_tokens);
                    usage.completion_tokens = told(completion_tokens, usage.completion_tokens);
                }
            }
        }
        self.shown.flush();
        Ok(())
    }

    /// Exponential with jitter, at least what the provider asks for. None when it is not worth it.
    fn wait_before_retry(&self, error: &ModelError, retries: u32) -> Option<Duration> {
        let asked = error.retry_after.unwrap_or_default();
        if !error.is_retryable || retries >= RETRIES || asked > LONGEST_RETRY_AFTER {
            return None;
        }
        let base = self.app.config.runs.backoff;
        let mut random = [0; 4];
        self.app.random.fill(&mut random);
        let jitter = base * u32::from_le_bytes(random) / u32::MAX;
        Some((base * 2_u32.pow(retries) + jitter).min(base * 10).max(asked))
    }

    fn settle(&mut self) {
        if let Some(usage) = self.current.take() {
            *self.spent[self.asked].get_or_insert_default() += usage;
        }
    }

    /// What it took until now: tokens of all attempts, each at the rates of the model that it was made of.
    pub(crate) fn cost(&mut self) -> ModelCall {
        self.settle();
        let mut usage: Option<Usage> = None;
        let mut dollars = rust_decimal::Decimal::ZERO;
        for (target, spent) in self.targets.iter().zip(&self.spent) {
            if let Some(spent) = *spent {
                *usage.get_or_insert_default() += spent;
                dollars += target.route.rates.dollars(spent);
            }
        }
        let Target { route, requested, .. } = &self.targets[self.asked];
        // What the installation paid for in part counts as the installation's.
        let counts = |index: &usize| *index == self.asked || self.spent[*index].is_some();
        let is_own = (0..self.targets.len()).filter(counts).all(|at| self.targets[at].key_source == KeySource::Own);
        ModelCall {
            provider: route.provider.as_str(),
            model: route.model.clone(),
            requested_model: requested.clone(),
            key_source: if is_own { KeySource::Own } else { KeySource::Platform },
            attempts: self.attempts,
            usage: usage.map(|usage| (usage, Cost::of(dollars))),
        }
    }
}

fn request(question: &Question, route: &ModelRoute) -> ModelRequest {
    let parameters = &question.parameters;
    let wanted = parameters.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    // Newer models refuse both together; then the temperature is the one that is sent.
    let (temperature, top_p) = match (&parameters.temperature, &parameters.top_p) {
        (None, None) => (Some(1.into()), None),
        (Some(temperature), Some(_)) if route.exclusive_sampling => (Some(temperature.clone()), None),
        (temperature, top_p) => (temperature.clone(), top_p.clone()),
    };
    ModelRequest {
        model: route.model.clone(),
        system: question.system.clone(),
        prompt: question.prompt.clone(),
        max_tokens: route.max_output_tokens.map_or(wanted, |most| wanted.min(most)),
        temperature,
        top_p,
        top_k: parameters.top_k,
        stop_sequences: parameters.stop_sequences.clone().unwrap_or_default(),
    }
}
