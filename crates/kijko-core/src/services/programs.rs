//! Models that the program around us serves, such as a Python process: it is asked, and answers piece by piece.
//!
//! Only the process that offers a model knows it. So it has to run the jobs itself, and be the only one that does.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Number;
use tokio::sync::mpsc;

use crate::app::App;
use crate::domain::check::Check;
use crate::domain::executions::{Failure, FailureCode};
use crate::domain::models::{ModelRoute, Provider};
use crate::domain::money::Rates;
use crate::error::Result;
use crate::ports::models::{ModelError, ModelEvent, ModelProvider, ModelRequest, ModelStream};

/// Pieces that may wait for the run to take them; the program waits after that.
const WAITING: usize = 64;
/// Longer answers fail: somebody yields for ever.
const LONGEST_ANSWER: usize = 16 << 20;

/// A model as a program offers it.
#[derive(Clone, Debug)]
pub struct OfferedModel {
    /// 1 to 100 characters; what skills name. Goes before a model of the catalogue of the same name.
    pub name: String,
    /// US dollars per million tokens.
    pub input_cost_per_million: Decimal,
    pub output_cost_per_million: Decimal,
    pub max_output_tokens: u32,
}

/// What answers.
pub trait Program: Send + Sync {
    /// Begins an attempt, and may go on after returning. Called on a thread that may be blocked. The attempt is over
    /// when the answer is ended or dropped.
    fn start(&self, question: Question, answer: Answer);
}

/// One call, with nothing left to decide.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    pub model: String,
    pub prompt: String,
    pub system: Option<String>,
    pub max_tokens: u32,
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_k: Option<u32>,
    pub stop_sequences: Vec<String>,
}

/// Where the pieces of an answer go. Dropped without an end, it is an answer that broke off.
pub struct Answer {
    parts: mpsc::Sender<Part>,
}

enum Part {
    Event(ModelEvent),
    End,
    Failed(ModelError),
}

impl Answer {
    /// Waits while the run is busy. False when nobody wants the answer any more.
    pub fn text(&self, piece: String) -> bool {
        piece.is_empty() || self.parts.blocking_send(Part::Event(ModelEvent::Text(piece.replace('\0', "")))).is_ok()
    }

    /// Tokens so far; the last figures count. Estimated when never told.
    pub fn usage(&self, prompt_tokens: u64, completion_tokens: u64) -> bool {
        let usage =
            ModelEvent::Usage { prompt_tokens: Some(prompt_tokens), completion_tokens: Some(completion_tokens) };
        self.parts.blocking_send(Part::Event(usage)).is_ok()
    }

    pub fn end(&self) {
        self.parts.blocking_send(Part::End).ok();
    }

    /// The sentence is for the owner of the run.
    pub fn fail(&self, message: &str, is_retryable: bool) {
        let failure = Failure::new(FailureCode::ApiError, message);
        self.parts.blocking_send(Part::Failed(ModelError { failure, is_retryable, retry_after: None })).ok();
    }

    pub fn is_unwanted(&self) -> bool {
        self.parts.is_closed()
    }
}

/// Lets this process serve a model from now on. Refuses with `VALIDATION_ERROR`.
pub fn offer(app: &App, model: OfferedModel, program: Arc<dyn Program>) -> Result<()> {
    let mut check = Check::default();
    check.text("name", &model.name, 1, 100);
    check.range("maxOutputTokens", model.max_output_tokens, 1, 1_000_000);
    for (field, rate) in
        [("inputCostPerMillion", model.input_cost_per_million), ("outputCostPerMillion", model.output_cost_per_million)]
    {
        check.range(field, rate, Decimal::ZERO, Decimal::from(1_000_000));
    }
    check.done()?;
    let route = ModelRoute {
        provider: Provider::Program,
        model: model.name.clone(),
        rates: Rates {
            input_per_million: model.input_cost_per_million,
            output_per_million: model.output_cost_per_million,
        },
        max_output_tokens: Some(model.max_output_tokens),
        exclusive_sampling: false,
    };
    let patience = app.config.models.inactivity_timeout;
    app.models.offer(model.name, route, Arc::new(Offered { program, patience }));
    Ok(())
}

struct Offered {
    program: Arc<dyn Program>,
    /// The longest silence that is borne.
    patience: Duration,
}

#[async_trait]
impl ModelProvider for Offered {
    async fn stream(&self, request: &ModelRequest) -> Result<ModelStream, ModelError> {
        let (parts, received) = mpsc::channel(WAITING);
        let (program, question) = (self.program.clone(), Question::from(request));
        tokio::task::spawn_blocking(move || program.start(question, Answer { parts }));
        let answer =
            Received { parts: received, prompt: Some(request.prompt.clone()), text: String::new(), ended: false };
        let patience = self.patience;
        let events = stream::unfold(Some(answer), move |answer| async move {
            let mut answer = answer?;
            match answer.next(patience).await {
                Ok(Some(event)) => Some((Ok(event), Some(answer))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(events.boxed())
    }

    async fn check(&self) -> Result<(), ModelError> {
        Ok(())
    }
}

struct Received {
    parts: mpsc::Receiver<Part>,
    /// For counting its tokens, until the program tells them.
    prompt: Option<String>,
    text: String,
    ended: bool,
}

impl Received {
    /// None at the end, after an estimate of the tokens if none were told.
    async fn next(&mut self, patience: Duration) -> Result<Option<ModelEvent>, ModelError> {
        if self.ended {
            return Ok(None);
        }
        let part = tokio::time::timeout(patience, self.parts.recv()).await;
        let part =
            part.map_err(|_| broken(FailureCode::ProviderUnreachable, "The model's program fell silent", true))?;
        match part {
            Some(Part::Event(ModelEvent::Text(piece))) => {
                self.text.push_str(&piece);
                if self.text.len() > LONGEST_ANSWER {
                    return Err(broken(FailureCode::ApiError, "The model's program does not stop answering", false));
                }
                Ok(Some(ModelEvent::Text(piece)))
            }
            Some(Part::Event(usage)) => {
                self.prompt = None;
                Ok(Some(usage))
            }
            Some(Part::End) => {
                self.ended = true;
                let count = |text: &str| Some(bpe_openai::o200k_base().count(text) as u64);
                Ok(self.prompt.take().map(|prompt| ModelEvent::Usage {
                    prompt_tokens: count(&prompt),
                    completion_tokens: count(&self.text),
                }))
            }
            Some(Part::Failed(error)) => Err(error),
            None => Err(broken(FailureCode::ApiError, "The model's program broke off its answer", false)),
        }
    }
}

fn broken(code: FailureCode, message: &str, is_retryable: bool) -> ModelError {
    ModelError { failure: Failure::new(code, message), is_retryable, retry_after: None }
}

impl From<&ModelRequest> for Question {
    fn from(request: &ModelRequest) -> Self {
        Self {
            model: request.model.clone(),
            prompt: request.prompt.clone(),
            system: request.system.clone(),
            max_tokens: request.max_tokens,
            temperature: request.temperature.clone(),
            top_p: request.top_p.clone(),
            top_k: request.top_k,
            stop_sequences: request.stop_sequences.clone(),
        }
    }
}
