-- Keeps the queue of record (orders_due_check) quick on PostgreSQL: a busy hub rewrites each of its rows every few
-- minutes, and the server's own settings clean a table up only when a fifth of it is dead. For a database whose tables
-- belong to somebody else than the user that the hub connects as; run it as the owner of the table:
--
--     psql -U OWNER -d DATABASE -v ON_ERROR_STOP=1 -f migrations_sql/queue_settings.sql
--
-- It sets exactly what apps/orders/migrations/0013_queue_settings.py sets, and may be run again. No fillfactor: every
-- claim changes `next_at`, which is indexed, so free space in a page would save no index entry, only cost space.
--
-- What belongs to the server or the database, and is not set here (`manage.py doctor` looks at it):
--
--     ALTER DATABASE hub SET idle_in_transaction_session_timeout = '30s';
--     ALTER SYSTEM SET autovacuum_naptime = '15s';
--     SELECT pg_reload_conf();

BEGIN;

SET LOCAL lock_timeout = '10s';

ALTER TABLE orders_due_check SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 500, autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_cost_limit = 2000);

COMMIT;
