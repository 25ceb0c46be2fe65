//! Every use case, dropped at every await.

use kijko_core::domain::skills::{BasedOn, SkillPatch};

use super::*;
use crate::harness::cluster;

async fn drop_the_use_cases_of_skills(scene: &Scene) {
    let (app, ctx) = (&scene.app.app, &scene.ada.ctx);
    let rows = |name: &str| {
        let (organization, user, template) = (ctx.organization_id(), ctx.user_id(), template(name));
        format!(
            "skills WHERE name = '{name}' AND description = '{name}' AND prompt_template = '{template}'
                AND organization_id = '{organization}' AND user_id = '{user}'"
        )
    };
    scene
        .drop_at_every_await(
            "skills::create",
            async || scene.name(),
            async |name| skills::create(app, ctx, new_skill(name), None).await,
            async |name, done| {
                let whole = scene.none_or_one(&rows(name), done).await;
                let any = scene.none_or_one(&format!("skills WHERE name = '{name}'"), done).await;
                assert_eq!(whole, any, "half a skill was written, or by somebody else");
            },
        )
        .await;
    let skill = scene.skill().await;
    scene
        .drop_at_every_await(
            "skills::get",
            async || skill,
            async |id| skills::get(app, ctx, *id).await.map(|found| assert_eq!(found.id, *id)),
            async |_, _| {},
        )
        .await;
    scene
        .drop_at_every_await(
            "skills::list",
            async || (),
            async |()| {
                let listed = skills::list(app, ctx, &SkillFilter::default(), first_page()).await?;
                assert!(listed.rows.iter().all(|skill| skill.user_id == ctx.user_id()), "a foreign row: {listed:?}");
                Ok(())
            },
            async |_, _| {},
        )
        .await;
    scene
        .drop_at_every_await(
            "skills::update",
            async || (scene.skill().await, scene.name()),
            async |(id, name)| {
                let patch = SkillPatch {
                    name: Some(name.clone()),
                    description: Some(Some(name.clone())),
                    prompt_template: Some(template(name)),
                    ..SkillPatch::default()
                };
                skills::update(app, ctx, *id, patch, &BasedOn::any()).await
            },
            async |(id, name), done| {
                let new = scene.none_or_one(&rows(name), done).await;
                let name = "name = description AND prompt_template = 'Summarise for ' || name || ': {{text}}'";
                let whole = scene.app.count(&format!("skills WHERE id = '{id}' AND {name}")).await;
                assert_eq!(whole, 1, "half a change was written (the new one is there: {new})");
            },
        )
        .await;
    scene
        .drop_at_every_await(
            "skills::delete",
            async || scene.run().await,
            async |(skill, _)| skills::delete(app, ctx, *skill, &BasedOn::any()).await,
            async |(skill, run), done| {
                let left = scene.app.count(&format!("skills WHERE id = '{skill}'")).await;
                let status = if left == 0 { "cancelled" } else { "pending" };
                let run =
                    scene.app.count(&format!("skill_executions WHERE id = '{run}' AND status = '{status}'")).await;
                assert_eq!(run, 1, "a skill ({left} left) and its run must end together");
                assert!(left == 0 || !done, "an acknowledged deletion is lost");
            },
        )
        .await;
}

async fn drop_the_use_cases_of_executions(scene: &Scene) {
    let (app, ctx) = (&scene.app.app, &scene.ada.ctx);
    scene
        .drop_at_every_await(
            "executions::execute",
            async || scene.skill().await,
            async |skill| executions::execute(app, ctx, *skill, ExecuteRequest::default(), None).await,
            async |skill, done| {
                let (organization, user) = (ctx.organization_id(), ctx.user_id());
                let run = format!(
                    "skill_executions WHERE skill_id = '{skill}' AND status = 'pending'
                        AND organization_id = '{organization}' AND user_id = '{user}'"
                );
                let runs = scene.none_or_one(&run, done).await;
                let jobs = format!(
                    "graphile_worker._private_jobs j JOIN skill_executions e
                         ON j.key = app.execution_job_key(e.organization_id, e.id) AND e.skill_id = '{skill}'"
                );
                assert_eq!(scene.app.count(&jobs).await, runs, "a run and its job must be written together");
            },
        )
        .await;
    let (_, run) = scene.run().await;
    scene
        .drop_at_every_await(
            "executions::get",
            async || run,
            async |id| executions::get(app, ctx, *id).await.map(|found| assert_eq!(found.id, *id)),
            async |_, _| {},
        )
        .await;
    scene
        .drop_at_every_await(
            "history::list",
            async || (),
            async |()| {
                let listed = history::list(app, ctx, &ExecutionFilter::default(), &Wanted::Page(first_page())).await?;
                let own = listed.rows.iter().all(|row| row.execution.user_id == ctx.user_id());
                assert!(own, "a foreign row: {listed:?}");
                Ok(())
            },
            async |_, _| {},
        )
        .await;
    scene
        .drop_at_every_await(
            "executions::cancel",
            async || scene.run().await.1,
            async |run| executions::cancel(app, ctx, *run, None).await,
            async |run, done| {
                scene.none_or_one(&format!("skill_executions WHERE id = '{run}' AND status = 'cancelled'"), done).await;
                scene.none_or_one(&format!("skill_executions WHERE id = '{run}'"), true).await;
                assert_eq!(scene.jobs_of(*run).await, 1, "the job of a run stays, whatever becomes of the run");
            },
        )
        .await;
}

async fn drop_the_use_cases_of_sessions(scene: &Scene) {
    let (app, user) = (&scene.app.app, scene.ada.ctx.user_id());
    let sessions = format!("user_sessions WHERE user_id = '{user}'");
    scene
        .drop_at_every_await(
            "sessions::sign_in",
            async || scene.app.count(&sessions).await,
            async |_| sessions::sign_in(app, scene.credentials(), &origin()).await,
            async |before, done| {
                let new = scene.app.count(&sessions).await - before;
                assert!(new == 1 || (new == 0 && !done), "{new} sessions of one sign-in (done: {done})");
                let log = format!("audit_logs WHERE event_type = 'user.login' AND user_id = '{user}'");
                assert_eq!(scene.app.count(&log).await, before + new, "a sign-in and its log entry belong together");
                let without_token = "NOT EXISTS (SELECT FROM refresh_tokens t WHERE t.session_id = user_sessions.id)";
                assert_eq!(scene.app.count(&format!("{sessions} AND {without_token}")).await, 0, "half a sign-in");
            },
        )
        .await;
    scene
        .drop_at_every_await(
            "sessions::sign_out",
            async || scene.sign_in().await,
            async |tokens| sessions::sign_out(app, Some(&tokens.access_token), None, &origin()).await,
            async |tokens, done| {
                let session = &scene.app.with_token(&tokens.access_token).claims()["sid"];
                let session = session.as_str().expect("a session");
                let ended = format!("user_sessions WHERE id = '{session}' AND revoked_at IS NOT NULL");
                let ended = scene.none_or_one(&ended, done).await;
                let log =
                    format!("audit_logs WHERE event_type = 'user.logout' AND metadata->>'sessionId' = '{session}'");
                assert_eq!(scene.none_or_one(&log, done).await, ended, "leaving and its log entry belong together");
            },
        )
        .await;

    let refresh = async |token: &str| sessions::refresh(app, &SecretString::from(token), &origin()).await;
    let latest = std::cell::RefCell::new(scene.sign_in().await);
    scene
        .drop_at_every_await(
            "sessions::refresh",
            async || latest.borrow().refresh_token.clone(),
            async |token| refresh(token).await,
            async |token, done| {
                let rotated = scene.app.count("refresh_tokens WHERE rotated_at IS NOT NULL").await;
                let successors = "refresh_tokens a JOIN refresh_tokens b ON a.replaced_by = b.id";
                assert_eq!(scene.app.count(successors).await, rotated, "a token was used up and has no successor");
                let again = refresh(token).await.expect("who hung up may ask again");
                let now_rotated = scene.app.count("refresh_tokens WHERE rotated_at IS NOT NULL").await;
                assert!(!done || now_rotated == rotated, "an acknowledged rotation is lost");
                latest.replace(again);
            },
        )
        .await;
    scene
        .drop_at_every_await(
            "identity::authenticate",
            // A token that this process has not seen, so that it asks the database.
            async || {
                let token = latest.borrow().refresh_token.clone();
                latest.replace(refresh(&token).await.expect("the latest token"));
                latest.borrow().access_token.clone()
            },
            async |token| identity::authenticate(app, Some(token)).await,
            async |_, _| {},
        )
        .await;
}

#[tokio::test]
async fn whatever_await_a_use_case_is_dropped_at_nothing_is_half_done_or_left_open() {
    let started = Instant::now();
    let scene = Scene::on(Installation::with(&ONE_CONNECTION).await).await;
    drop_the_use_cases_of_skills(&scene).await;
    drop_the_use_cases_of_executions(&scene).await;
    drop_the_use_cases_of_sessions(&scene).await;
    eprintln!("every await, prepared statements: {:?}", started.elapsed());
}

/// A use case awaits more when the connection has to prepare each statement first, and to forget another for it.
#[tokio::test]
async fn the_same_holds_while_statements_are_prepared() {
    let started = Instant::now();
    let mut app = Installation::new().await;
    app.leave_jobs();
    let url = format!("{}?statement-cache-capacity=1", cluster::url("kijko_app", &app.database));
    let settings = [ONE_CONNECTION[0], ONE_CONNECTION[1], ("DATABASE_URL", url.as_str())];
    let scene = Scene::on(Installation::beside(&app, &settings).await).await;
    drop_the_use_cases_of_skills(&scene).await;
    drop_the_use_cases_of_executions(&scene).await;
    drop_the_use_cases_of_sessions(&scene).await;
    eprintln!("every await, preparing each statement: {:?}", started.elapsed());
}
