//! Notes what was done, in the transaction that did it.

use serde_json::{Value, json};

use crate::app::App;
use crate::context::{Actor, TenantContext};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::ids::AuditLogId;
use crate::error::Result;
use crate::ports::TenantTx;

/// Notes it in the name of the person in the context; what an operator did for them, as an operator's action.
pub(crate) async fn note(
    app: &App,
    tx: &mut dyn TenantTx,
    ctx: &TenantContext,
    event: AuditEvent,
    description: &str,
    metadata: Value,
) -> Result<()> {
    let user_id = Some(ctx.user_id());
    let entry = match ctx.actor() {
        Actor::User { .. } | Actor::Job => AuditEntry { event, user_id, description: description.to_owned(), metadata },
        Actor::Operator { reason } => AuditEntry {
            event: AuditEvent::SystemAdminAction,
            user_id,
            description: format!("{description}, by an operator"),
            metadata: json!({ "action": event.as_str(), "reason": reason, "of": metadata }),
        },
    };
    tx.audit().insert(AuditLogId(app.random.uuid()), &entry, ctx.origin(), app.clock.now()).await
}
