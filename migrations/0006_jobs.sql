-- The door between tenants and the job engine (schema `graphile_worker`, which its own migrations made before).
--
-- A tenant may enqueue for itself and nothing else: the function stamps organisation and user from the context.
-- The system role runs the engine. New tables of a newer engine get no grants by themselves; add them here.

REVOKE ALL ON ALL TABLES IN SCHEMA graphile_worker FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA graphile_worker FROM PUBLIC;
GRANT USAGE ON SCHEMA graphile_worker TO kijko_system;
GRANT SELECT ON graphile_worker.migrations, graphile_worker._private_job_retirements TO kijko_system;
GRANT SELECT, UPDATE, DELETE ON graphile_worker._private_jobs TO kijko_system;
GRANT SELECT, UPDATE ON graphile_worker._private_job_queues TO kijko_system;
GRANT SELECT, INSERT ON graphile_worker._private_tasks TO kijko_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON graphile_worker._private_workers TO kijko_system;
GRANT EXECUTE ON FUNCTION
    graphile_worker.worker_heartbeat, graphile_worker.worker_deregister, graphile_worker.list_stale_workers,
    graphile_worker.list_orphan_locked_workers, graphile_worker.delete_stale_workers,
    graphile_worker.recover_dead_worker_jobs, graphile_worker._private_return_jobs TO kijko_system;

-- Never FORCE row security there: the function below works as the owner of those tables.
DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['migrations', '_private_jobs', '_private_job_queues', '_private_tasks',
                                   '_private_workers', '_private_job_retirements'] LOOP
        EXECUTE format('ALTER TABLE graphile_worker.%I ENABLE ROW LEVEL SECURITY', v_table);
        EXECUTE format('CREATE POLICY kijko_system_all ON graphile_worker.%I FOR ALL TO kijko_system
                        USING (true) WITH CHECK (true)', v_table);
    END LOOP;
END
$$;

-- The name of the job that carries an execution: unique over all organisations, as the engine demands.
CREATE FUNCTION app.execution_job_key(p_organization_id uuid, p_execution_id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN p_organization_id::text || ':execution:' || p_execution_id::text;
GRANT EXECUTE ON FUNCTION app.execution_job_key TO kijko_system;

-- Enqueues the run of an execution, in the caller's transaction. Doing it again is harmless: the key makes it
-- one job, and the row decides who runs. It must be the caller's own, or a colleague's job could be replaced under
-- its key. The priority is the organisation's backlog, so that the first run of one organisation goes before the
-- hundredth of another. A job that is marked with a model waits for a worker of the program that serves it.
CREATE FUNCTION app.enqueue_execution(p_execution_id uuid, p_model text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_backlog bigint;
BEGIN
    PERFORM FROM public.skill_executions
      WHERE organization_id = app.current_org() AND user_id = app.current_user_id() AND id = p_execution_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the caller has no execution % to enqueue', p_execution_id USING ERRCODE = 'no_data_found';
    END IF;
    SELECT count(*) INTO v_backlog FROM public.skill_executions
     WHERE organization_id = app.current_org() AND status IN ('pending', 'running');
    PERFORM graphile_worker.add_jobs(ARRAY[ROW(
        'kijko',
        pg_catalog.json_build_object(
            'kind', 'run_execution', 'organizationId', app.current_org(),
            'userId', app.current_user_id(), 'executionId', p_execution_id),
        NULL, NULL, 25::smallint,
        app.execution_job_key(app.current_org(), p_execution_id),
        least(v_backlog, 32000)::smallint,
        CASE WHEN p_model IS NOT NULL THEN ARRAY[p_model] END)::graphile_worker.job_spec], true);
END
$$;
GRANT EXECUTE ON FUNCTION app.enqueue_execution TO kijko_tenant;
