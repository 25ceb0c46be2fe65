//! Which model answers, who serves it, and with whose key. The one place where that is decided.

use crate::app::App;
use crate::config::PlanModelPolicy;
use crate::context::{Permission, TenantContext};
use crate::domain::executions::{Failure, FailureCode};
use crate::domain::models::{KeySource, ModelInfo, ModelRoute, Provider, SizeClass};
use crate::domain::offered_models::SeenModel;
use crate::domain::plans::Plan;
use crate::domain::provider_keys::SealedProviderKey;
use crate::domain::skills::{DEFAULT_MODEL, Skill};
use crate::domain::test_runs::TestQuestion;
use crate::error::{Code, Error, Result};
use crate::ports::TenantTx;
use crate::ports::models::Target;
use crate::services::{programs, provider_keys};

/// What a run asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// The plan's choice when absent.
    pub(crate) model: Option<&'a str>,
    /// What stands in when the provider of the first is down.
    pub(crate) fallback: Option<&'a str>,
}

impl<'a> From<&'a Skill> for Wish<'a> {
    fn from(skill: &'a Skill) -> Self {
        let model = (!skill.model_is_default).then_some(skill.model.as_str());
        Self { model, fallback: skill.fallback_model.as_deref() }
    }
}

impl<'a> From<&'a TestQuestion> for Wish<'a> {
    fn from(question: &'a TestQuestion) -> Self {
        Self { model: question.model.as_deref(), fallback: question.fallback_model.as_deref() }
    }
}

/// The catalogue and what programs serve, and what of it the caller's organisation can run now.
pub async fn list(app: &App, ctx: &TenantContext) -> Result<Vec<ModelInfo>> {
    ctx.require(Permission::ReadSkills)?;
    let mut tx = app.store.tenant(ctx).await?;
    let access = Access::of(app, &mut *tx).await?;
    let programs = tx.offered_models().list().await?;
    let catalogue = app.models.catalogue().models.iter().map(|entry| entry.info(access.serves(entry.provider)));
    // Another process may have another catalogue; what this one resolves goes before.
    let programs = programs.iter().filter(|seen| !app.models.catalogue().has(&seen.model.name));
    Ok(catalogue.chain(programs.map(|seen| seen.info(app.clock.now()))).collect())
}

/// Where a call goes, in whatever process: the first choice, then what stands in for it; never empty. A stand-in that
/// nobody serves is none. Refuses with `MODEL_NOT_SUPPORTED` and `PROVIDER_NOT_CONFIGURED`.
pub(crate) async fn targets(app: &App, tx: &mut dyn TenantTx, wish: Wish<'_>) -> Result<Vec<Target>> {
    let mut access = Access::of(app, tx).await?;
    access.look_for(tx, wish).await?;
    let wanted = wish.model.unwrap_or_else(|| access.choice_of_the_plan());
    let first = access.target(wanted);
    let stand_in = wish.fallback.filter(|fallback| *fallback != wanted).and_then(|model| access.target(model).ok());
    let stand_in = stand_in.map(|target| Target { requested: Some(wanted.to_owned()), ..target });
    match (first, stand_in) {
        (Ok(first), stand_in) => Ok([first].into_iter().chain(stand_in).collect()),
        // What is offered here is always a target here, or the run would go to and fro.
        (Err(error), Some(stand_in))
            if error.code() == Code::ProviderNotConfigured || programs::is_offered(app, &stand_in.route) =>
        {
            Ok(vec![stand_in])
        }
        (Err(error), _) => Err(error),
    }
}

/// What a refusal of `targets` means for a run that was accepted already. Anything else is passed on: it says nothing
/// about the run.
pub(crate) fn failure(refusal: Error) -> Result<Failure> {
    let code = match refusal.code() {
        Code::ProviderNotConfigured => FailureCode::ProviderNotConfigured,
        Code::ModelNotSupported => FailureCode::ModelNotSupported,
        _ => return Err(refusal),
    };
    Ok(Failure::new(code, refusal.to_string()))
}

/// What an organisation may call, and with what.
struct Access<'a> {
    app: &'a App,
    plan: Plan,
    keys: Vec<SealedProviderKey>,
    /// Of the models that were asked for, those that only other processes serve.
    seen: Vec<SeenModel>,
}

impl<'a> Access<'a> {
    async fn of(app: &'a App, tx: &mut dyn TenantTx) -> Result<Self> {
        let (plan, keys) = tx.provider_keys().in_force().await?;
        Ok(Self { app, plan, keys, seen: Vec::new() })
    }

    /// Models that this process does not know may be those of a program somewhere else.
    async fn look_for(&mut self, tx: &mut dyn TenantTx, wish: Wish<'_>) -> Result<()> {
        let wanted = [wish.model, wish.fallback].into_iter().flatten();
        let unknown: Vec<&str> = wanted.filter(|name| self.app.models.route(name).is_err()).collect();
        if !unknown.is_empty() {
            self.seen = tx.offered_models().find(&unknown).await?;
        }
        Ok(())
    }

    /// Who serves it, in whatever process. Refuses with `MODEL_NOT_SUPPORTED`, and with `PROVIDER_NOT_CONFIGURED` while
    /// the program that served it is gone.
    fn route(&self, model: &str) -> Result<ModelRoute> {
        match self.seen.iter().find(|seen| seen.model.name == model) {
            None => self.app.models.route(model),
            Some(seen) if seen.is_served(self.app.clock.now()) => Ok(seen.model.route()),
            Some(_) => Err(Error::Unavailable { code: Code::ProviderNotConfigured, source: None }),
        }
    }

    fn serves(&self, provider: Provider) -> bool {
        self.own_key(provider).is_some() || self.app.models.serves(provider)
    }

    fn own_key(&self, provider: Provider) -> Option<&SealedProviderKey> {
        self.keys.iter().find(|key| key.provider == provider)
    }

    /// Where nobody named a model: of the size that the plan includes, of a provider that can be called.
    fn choice_of_the_plan(&self) -> &str {
        let size = SizeClass::of(self.plan);
        self.app.models.routes().first(size, |provider| self.serves(provider)).unwrap_or(DEFAULT_MODEL)
    }

    /// The model that was named, or the one that the policy puts in its place.
    fn target(&self, model: &str) -> Result<Target> {
        let named = self.connect(model)?;
        let is_held = self.app.config.models.plan_policy == PlanModelPolicy::Enforce
            && SizeClass::of(self.plan) == SizeClass::Small
            // Who pays chooses.
            && named.key_source == KeySource::Platform;
        let provider = self.route(model)?.provider;
        match self.app.models.routes().model(provider, SizeClass::Small) {
            Some(small) if is_held => {
                let small = self.connect(small)?;
                if small.route.model == named.route.model {
                    return Ok(named);
                }
                Ok(Target { requested: Some(model.to_owned()), ..small })
            }
            _ => Ok(named),
        }
    }

    /// With the organisation's own key where it has one. That key failing is told, and never made good with ours.
    fn connect(&self, model: &str) -> Result<Target> {
        let route = self.route(model)?;
        if route.provider == Provider::Program && !programs::is_offered(self.app, &route) {
            return Ok(programs::elsewhere(route));
        }
        let Some(key) = self.own_key(route.provider) else { return self.app.models.target(route) };
        let connected = match provider_keys::open(self.app, key) {
            Some(plain) => self.app.models.connect(key.provider, &plain, key.endpoint.as_ref()),
            None => Err(Error::internal("opening a provider key", "it was sealed with another key, or moved")),
        };
        let provider = connected.map_err(|error| {
            tracing::error!(error = error.internal_text(), organization_id = %key.organization_id,
                provider = key.provider.as_str(), "an organisation's own key cannot be used");
            Error::Unavailable { code: Code::ProviderNotConfigured, source: None }
        })?;
        Ok(Target { route, provider, key_source: KeySource::Own, requested: None })
    }
}
