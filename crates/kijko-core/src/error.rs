//! The one error of the core: variants say what a caller can do about it, codes say what happened.
//!
//! `Display` is for the outside. What is only for us (`source`, `context`) is logged once, at the edge,
//! and never leaves the process.

use std::fmt;

use crate::domain::budgets::BudgetRefusal;
use crate::domain::limits::Standing;
use crate::domain::usage::Quota;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that made something fail inside; kept for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

macro_rules! codes {
    ($($variant:ident $text:literal $title:literal,)*) => {
        /// What happened, in the words of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($variant,)* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The machine code, UPPER_SNAKE.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// A short fixed text, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }
        }
    };
}

codes! {
    AccountDisabled "ACCOUNT_DISABLED" "This account is disabled",
    AccountLocked "ACCOUNT_LOCKED" "Sign-in is locked for a while after too many wrong passwords",
    AlreadyMember "ALREADY_MEMBER" "They already belong to the organisation",
    AccountLinkRequired "ACCOUNT_LINK_REQUIRED" "This e-mail address belongs to another account",
    AuthMethodDisabled "AUTH_METHOD_DISABLED" "This way of signing in is switched off",
    AuthUnavailable "AUTH_UNAVAILABLE" "Sign-in is not available right now",
    BudgetExceeded "BUDGET_EXCEEDED" "The monthly budget has not enough left for this",
    CannotCancel "CANNOT_CANCEL" "The execution has already ended",
    CannotRetry "CANNOT_RETRY" "Only executions that failed or were cancelled can be tried again",
    Conflict "CONFLICT" "This does not fit the present state",
    DependencyUnavailable "DEPENDENCY_UNAVAILABLE" "A service that Kijko needs is not available",
    EmailTaken "EMAIL_TAKEN" "An account with this e-mail address exists",
    EmailNotVerified "EMAIL_NOT_VERIFIED" "Confirm your e-mail address first, by the link that was mailed to you or at the provider that vouches for you",
    ExecutionNotFound "EXECUTION_NOT_FOUND" "No such execution",
    ExportTooLarge "EXPORT_TOO_LARGE" "The file would be too large",
    Forbidden "FORBIDDEN" "Your role does not allow this",
    IdempotencyConflict "IDEMPOTENCY_CONFLICT" "This Idempotency-Key was used for another request",
    InsufficientScope "INSUFFICIENT_SCOPE" "The API key does not reach this far",
    InternalError "INTERNAL_ERROR" "Something went wrong on our side",
    InvalidCredentials "INVALID_CREDENTIALS" "E-mail or password is wrong",
    InvalidInput "INVALID_INPUT" "The input does not fit the skill",
    InvalidJson "INVALID_JSON" "The body is not valid JSON",
    InvitationExists "INVITATION_EXISTS" "They were invited already",
    InvitationExpired "INVITATION_EXPIRED" "The invitation has expired",
    LastOwner "LAST_OWNER" "An organisation cannot be without an owner",
    LinkInvalid "LINK_INVALID" "The link is not valid, or no longer",
    MethodNotAllowed "METHOD_NOT_ALLOWED" "This method is not allowed here",
    ModelNotSupported "MODEL_NOT_SUPPORTED" "No provider serves this model",
    NoAvailableSeats "NO_AVAILABLE_SEATS" "The plan has no seat left",
    NoOrganization "NO_ORGANIZATION" "You do not belong to an organisation",
    NotFound "NOT_FOUND" "There is nothing here",
    OauthStateInvalid "OAUTH_STATE_INVALID" "This sign-in was not begun here, or too long ago; start again",
    OwnershipTransferRequired "OWNERSHIP_TRANSFER_REQUIRED" "Ownership must be handed over first",
    OauthCodeInvalid "OAUTH_CODE_INVALID" "The sign-in could not be completed; start again",
    PayloadTooLarge "PAYLOAD_TOO_LARGE" "The body is too large",
    PlanRequired "PLAN_REQUIRED" "The plan does not include this",
    PreconditionFailed "PRECONDITION_FAILED" "Somebody else changed it in the meantime",
    ProviderNotConfigured "PROVIDER_NOT_CONFIGURED" "The provider of this model is not set up",
    ReauthenticationFailed "REAUTHENTICATION_FAILED" "The password is wrong, or the sign-in too long ago",
    QuotaExceeded "QUOTA_EXCEEDED" "The plan has none of these left for now",
    RateLimited "RATE_LIMITED" "Too many requests",
    RedirectNotAllowed "REDIRECT_NOT_ALLOWED" "The browser may not be sent there",
    RefreshTokenInvalid "REFRESH_TOKEN_INVALID" "The refresh token is not valid",
    RefreshTokenReused "REFRESH_TOKEN_REUSED" "The refresh token was used before",
    ServiceNotConfigured "SERVICE_NOT_CONFIGURED" "This is not set up",
    SignupDisabled "SIGNUP_DISABLED" "Sign-up is switched off",
    SkillInactive "SKILL_INACTIVE" "The skill is not active",
    SkillNameExists "SKILL_NAME_EXISTS" "You already have a skill of this name",
    SkillNotFound "SKILL_NOT_FOUND" "No such skill",
    TooManyActiveExecutions "TOO_MANY_ACTIVE_EXECUTIONS" "Too many executions are waiting or running",
    TooManyApiKeys "TOO_MANY_API_KEYS" "You have as many live API keys as are allowed",
    Unauthenticated "UNAUTHENTICATED" "Sign in first",
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" "The body must be JSON",
    UnsupportedProvider "UNSUPPORTED_PROVIDER" "Nobody can sign in this way",
    UpstreamTimeout "UPSTREAM_TIMEOUT" "The request took too long",
    VersionNotFound "VERSION_NOT_FOUND" "The skill has no such version",
    TemplateNotFound "TEMPLATE_NOT_FOUND" "No such template",
    UnsupportedVersion "UNSUPPORTED_VERSION" "This version of the file format is not understood",
    ValidationError "VALIDATION_ERROR" "The request is not valid",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong with what the caller sent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Violation {
    /// Path of the member in the request, such as `inputSchema[2].name`.
    pub field: String,
    /// A sentence for a person, naming the rule.
    pub message: String,
    /// The kind of rule: `required`, `length`, `range`, `format`, `type`, `unique`, `unknown` or `refused`.
    pub code: &'static str,
}

/// Why a credential was refused; clients decide by it whether to refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthReason {
    Missing,
    Malformed,
    Expired,
    Invalid,
    Revoked,
    /// Unknown, expired, revoked, or of another environment: an API key's holder learns no more than that.
    ApiKey,
}

impl AuthReason {
    pub fn as_str(self) -> &'static str {
        match self {
            AuthReason::Missing => "missing",
            AuthReason::Malformed => "malformed",
            AuthReason::Expired => "expired",
            AuthReason::Invalid => "invalid",
            AuthReason::Revoked => "revoked",
            AuthReason::ApiKey => "api_key",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", violations.first().map_or(code.title(), |v| v.message.as_str()))]
    Invalid { code: Code, violations: Vec<Violation> },

    /// What the caller brought is no good here.
    #[error("{}", code.title())]
    Rejected { code: Code },

    #[error("{}", code.title())]
    Unauthenticated { code: Code, reason: Option<AuthReason> },

    #[error("{}", code.title())]
    Forbidden { code: Code },

    #[error("{}", code.title())]
    NotFound { code: Code },

    /// It was there, and its time is over.
    #[error("{}", code.title())]
    Gone { code: Code },

    #[error("{}", code.title())]
    Conflict { code: Code, field: Option<&'static str>, details: Option<serde_json::Value> },

    /// The change is based on what is not there any more.
    #[error("{}", Code::PreconditionFailed.title())]
    Outdated { revision: i64 },

    #[error("{}: {used} of {limit}", code.title())]
    LimitReached { code: Code, limit: i64, used: i64 },

    #[error("The plan allows {} {} per period, and {} are used", .0.limit, .0.metric.as_str(), .0.used)]
    QuotaExceeded(Quota),

    /// Boxed, because every result carries room for its error.
    #[error("{}", Code::BudgetExceeded.title())]
    BudgetExceeded(Box<BudgetRefusal>),

    #[error("{}: try again in {} seconds", Code::RateLimited.title(), .0.frees_in_seconds)]
    RateLimited(Standing),

    #[error("{}: try again in {retry_after} seconds", code.title())]
    Locked { code: Code, retry_after: u32 },

    #[error("{}", code.title())]
    Unavailable { code: Code, source: Option<Source> },

    /// Whoever runs the installation has not set it up.
    #[error("{}: {what}", code.title())]
    NotConfigured { code: Code, what: &'static str },

    #[error("{}", Code::InternalError.title())]
    Internal { context: &'static str, source: Option<Source> },
}

impl Error {
    pub fn invalid(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        let violation = Violation { field: field.into(), message: message.into(), code };
        Error::Invalid { code: Code::ValidationError, violations: vec![violation] }
    }

    /// The same about what was sent inside of this member.
    pub fn inside(mut self, member: &str) -> Self {
        if let Error::Invalid { violations, .. } = &mut self {
            for violation in violations {
                violation.field = format!("{member}.{}", violation.field);
            }
        }
        self
    }

    pub fn unauthenticated(reason: AuthReason) -> Self {
        Error::Unauthenticated { code: Code::Unauthenticated, reason: Some(reason) }
    }

    pub fn not_found(code: Code) -> Self {
        Error::NotFound { code }
    }

    pub fn conflict(code: Code) -> Self {
        Error::Conflict { code, field: None, details: None }
    }

    pub fn internal(context: &'static str, source: impl Into<Source>) -> Self {
        Error::Internal { context, source: Some(source.into()) }
    }

    pub fn unavailable(code: Code, source: impl Into<Source>) -> Self {
        Error::Unavailable { code, source: Some(source.into()) }
    }

    pub fn code(&self) -> Code {
        match self {
            Error::Invalid { code, .. }
            | Error::Unauthenticated { code, .. }
            | Error::Rejected { code }
            | Error::Forbidden { code }
            | Error::NotFound { code }
            | Error::Gone { code }
            | Error::Conflict { code, .. }
            | Error::LimitReached { code, .. }
            | Error::Locked { code, .. }
            | Error::NotConfigured { code, .. }
            | Error::Unavailable { code, .. } => *code,
            Error::BudgetExceeded(_) => Code::BudgetExceeded,
            Error::QuotaExceeded(_) => Code::QuotaExceeded,
            Error::Outdated { .. } => Code::PreconditionFailed,
            Error::RateLimited(_) => Code::RateLimited,
            Error::Internal { .. } => Code::InternalError,
        }
    }

    /// Whether the same call may succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Unavailable { .. } | Error::RateLimited(_) | Error::Locked { .. } => true,
            Error::Invalid { .. }
            | Error::Unauthenticated { .. }
            | Error::Rejected { .. }
            | Error::Forbidden { .. }
            | Error::NotFound { .. }
            | Error::Gone { .. }
            | Error::Conflict { .. }
            | Error::Outdated { .. }
            | Error::LimitReached { .. }
            | Error::BudgetExceeded(_)
            | Error::QuotaExceeded(_)
            | Error::NotConfigured { .. }
            | Error::Internal { .. } => false,
        }
    }

    /// What only the log may say: the failed step and the chain of causes.
    pub fn internal_text(&self) -> Option<String> {
        let (context, source) = match self {
            Error::Internal { context, source } => (*context, source.as_ref()),
            Error::Unavailable { code, source } => (code.as_str(), source.as_ref()),
            _ => return None,
        };
        let mut text = context.to_owned();
        let mut cause: Option<&dyn std::error::Error> = source.map(|s| &**s as _);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Some(text)
    }
}
