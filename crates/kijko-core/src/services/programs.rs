//! Models that the program around us serves, such as a Python process: it is asked, and answers piece by piece.
//!
//! Every process learns which models there are, so any of them accepts a run; the run waits for a worker of the program
//! that serves its model. A program that falls silent for minutes is gone, and so are its models until it comes back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::Number;
use tokio::sync::mpsc;

use crate::app::{App, Ports};
use crate::domain::executions::{Failure, FailureCode};
use crate::domain::jobs::Workplace;
use crate::domain::models::{KeySource, ModelRoute, Provider};
use crate::domain::offered_models::{ANNOUNCE_INTERVAL, FORGOTTEN_AFTER, OfferedModel, served_since};
use crate::error::{Error, Result};
use crate::ports::SystemTask;
use crate::ports::models::{ModelError, ModelEvent, ModelProvider, ModelRequest, ModelStream, Target};

/// Pieces that may wait for the run to take them; the program waits after that.
const WAITING: usize = 64;
/// Longer answers fail: somebody yields for ever.
const LONGEST_ANSWER: usize = 16 << 20;

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

    /// Whether the next piece will be taken without waiting.
    pub fn has_room(&self) -> bool {
        self.parts.capacity() > 0 || self.parts.is_closed()
    }

    pub fn is_unwanted(&self) -> bool {
        self.parts.is_closed()
    }
}

/// Lets this process serve a model from now on, in place of what it offered by this name before; runs need
/// `worker::serve_models` too. Others know of it when this returns. Refuses with `VALIDATION_ERROR`, also when the
/// catalogue has the name.
pub async fn offer(app: &App, model: OfferedModel, program: Arc<dyn Program>) -> Result<()> {
    check(app, &model)?;
    announce(app, std::slice::from_ref(&model)).await?;
    offer_soon(app, model, program)
}

/// The same without waiting for others to know of it.
pub fn offer_soon(app: &App, model: OfferedModel, program: Arc<dyn Program>) -> Result<()> {
    check(app, &model)?;
    let patience = app.config.models.inactivity_timeout;
    app.models.offer(model, Arc::new(Offered { program, patience }));
    Ok(())
}

fn check(app: &App, model: &OfferedModel) -> Result<()> {
    model.check()?;
    if app.models.catalogue().has(&model.name) {
        let message = format!("name must not be that of a known model, as {:?} is", model.name);
        return Err(Error::invalid("name", "taken", message));
    }
    Ok(())
}

/// Serves it no more. Others may, and others notice after a while.
pub fn withdraw(app: &App, model: &str) {
    app.models.withdraw(model);
}

/// Says again and again what this process serves, and at once when that changes, for as long as somebody uses the app.
pub(crate) async fn announce_regularly(ports: Weak<Ports>) {
    loop {
        let Some(app) = App::from_weak(&ports) else { return };
        let (offered, changed) = app.models.offered();
        let mut wait = ANNOUNCE_INTERVAL;
        if !offered.is_empty()
            && let Err(error) = announce(&app, &offered).await
        {
            tracing::warn!(error = error.internal_text(), "others were not told which models are served here");
            wait = Duration::from_secs(1);
        }
        // Whoever waits here must not keep the app alive.
        drop(app);
        tokio::time::timeout(wait, changed).await.ok();
    }
}

async fn announce(app: &App, models: &[OfferedModel]) -> Result<()> {
    let mut tx = app.store.system(SystemTask::AnnounceModels).await?;
    tx.offered_models().announce(models, app.clock.now()).await?;
    tx.commit().await
}

/// Lets any worker end what waits for a program that is gone; says how many jobs those were.
pub(crate) async fn release_jobs(app: &App) -> Result<u64> {
    let mut tx = app.store.system(SystemTask::ReleaseJobs).await?;
    let served = tx.offered_models().seen_since(served_since(app.clock.now())).await?;
    drop(tx);
    app.jobs.unmark(&served).await
}

/// Forgets models that nobody serves any more.
pub(crate) async fn forget_old(app: &App) -> Result<u64> {
    let mut tx = app.store.system(SystemTask::AnnounceModels).await?;
    let forgotten = tx.offered_models().delete_older(app.clock.now() - FORGOTTEN_AFTER).await?;
    tx.commit().await?;
    Ok(forgotten)
}

/// Whether the program that we run in serves it.
pub(crate) fn is_offered(app: &App, route: &ModelRoute) -> bool {
    route.provider == Provider::Program && app.models.offers(&route.model)
}

/// What another process serves: it can be planned with here, and not be called.
pub(crate) fn elsewhere(route: ModelRoute) -> Target {
    Target { route, provider: Arc::new(Elsewhere), key_source: KeySource::Platform, requested: None }
}

/// Where a run belongs whose first target this is.
pub(crate) fn workplace(targets: &[Target]) -> Workplace {
    match targets.first() {
        Some(target) if target.route.provider == Provider::Program => Workplace::Beside(target.route.model.clone()),
        _ => Workplace::Anywhere,
    }
}

struct Elsewhere;

#[async_trait]
impl ModelProvider for Elsewhere {
    async fn stream(&self, _: &ModelRequest) -> Result<ModelStream, ModelError> {
        self.check().await.map(|()| stream::empty().boxed())
    }

    async fn check(&self) -> Result<(), ModelError> {
        Err(broken(FailureCode::ProviderUnreachable, "The model is served by a program somewhere else", false))
    }
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
