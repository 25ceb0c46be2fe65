-- 10,000 skills and 1,000,000 executions of one person over the last 89 days, the more of a skill the lower its number.
-- The rows are written ended, ten thousand to a statement; what they add up to is counted by the same triggers as in
-- daily life, and merged by the worker. Variables: org, person.
\set ON_ERROR_STOP 1
SET synchronous_commit = off;

INSERT INTO skills (organization_id, id, user_id, name, category, prompt_template, model, parameters, output_format,
                    is_active, created_at, updated_at)
    SELECT :'org', md5('skill ' || s)::uuid, :'person', 'Skill ' || s, 'custom', 'Summarise in one line: {{text}}',
           'offline', '{}', 'text', s % 3 > 0, now() - s * interval '1 minute', now() - s * interval '1 minute'
      FROM generate_series(1, 10000) s;

SELECT format($insert$
    INSERT INTO skill_executions (organization_id, id, user_id, skill_id, execution_type, input, status, output,
                                  prompt_tokens, completion_tokens, cost_cents, cost_usd, duration_ms, attempts,
                                  executed_at, completed_at)
    SELECT %L, gen_random_uuid(), %L, md5('skill ' || 1 + floor(10000 * power(random(), 3)))::uuid,
           (ARRAY['manual', 'manual', 'api', 'habit', 'reflex'])[1 + floor(5 * random())],
           '{"text": "A text that somebody wants to have in one line, and a bit more of it."}', status,
           CASE status WHEN 'completed' THEN repeat('An answer of some length. ', 8) END,
           tokens, tokens / 4, cents, cents / 100.0, ms, 1, at, at + ms * interval '1 ms'
      FROM (SELECT (ARRAY['completed', 'failed', 'cancelled'])[CASE WHEN random() < 0.9 THEN 1 ELSE 2 + n %% 2 END] status,
                   floor(random() * 3000)::bigint AS tokens, floor(random() * 6)::bigint AS cents,
                   floor(300 * exp(random() * 5))::bigint AS ms, now() - random() * interval '89 days' AS at
              FROM generate_series(1, 10000) n) e
    $insert$, :'org', :'person')
  FROM generate_series(1, 100)
\gexec

UPDATE skills s SET execution_count = e.count, last_executed_at = e.latest
  FROM (SELECT skill_id, count(*) AS count, max(completed_at) AS latest FROM skill_executions
         WHERE status = 'completed' GROUP BY 1) e
 WHERE s.id = e.skill_id;
