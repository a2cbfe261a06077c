-- An archive for the stories and the providers' answers of orders that were settled long ago, for PostgreSQL databases with
-- tens of millions of orders. Nobody has to have it: run it as the owner of the tables, once, and again after each update:
--
--     psql -U OWNER -d DATABASE -v ON_ERROR_STOP=1 -f migrations_sql/archive_orders.sql
--
-- Then, at night, beside the working hub and as the user that it connects as (outside of a transaction):
--
--     CALL archive_orders(now() - interval '12 months');
--
-- It moves rows of orders_event and orders_evidence into archived_orders_event and archived_orders_evidence, a thousand
-- orders at a time, each batch in a transaction of its own: it may be killed at any moment and called again.
--
-- What stays where it is, whatever its age: orders, units, attempts, codes and all money. A key, a reference and a code
-- are refused for ever when they come a second time, and late news must find the attempt that it is about.
-- Of each archived order stay: the last line of its story, the last answer about each attempt, and the answer that this
-- line names. What comes later is written behind them, as ever.
--
-- The triggers that forbid to delete a line or an answer let those go of which the same row lies in the archive. If a new
-- version adds a column to one of the two tables, the call fails and moves nothing until the archive has it, too.

BEGIN;

SET LOCAL lock_timeout = '10s';

CREATE TABLE IF NOT EXISTS archived_order (
    order_id bigint PRIMARY KEY,
    archived_at timestamp with time zone NOT NULL DEFAULT now(),
    events integer NOT NULL,
    answers integer NOT NULL
);

CREATE TABLE IF NOT EXISTS archived_orders_event (LIKE orders_event, PRIMARY KEY (id));
CREATE INDEX IF NOT EXISTS archived_events_by_order ON archived_orders_event (order_id);

CREATE TABLE IF NOT EXISTS archived_orders_evidence (LIKE orders_evidence, PRIMARY KEY (id));
CREATE INDEX IF NOT EXISTS archived_answers_by_order ON archived_orders_evidence (order_id);

CREATE OR REPLACE FUNCTION archive_forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the archive is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE OR REPLACE TRIGGER archived_order_kept BEFORE UPDATE OR DELETE ON archived_order
    FOR EACH ROW EXECUTE FUNCTION archive_forbid_change();
CREATE OR REPLACE TRIGGER archived_orders_event_kept BEFORE UPDATE OR DELETE ON archived_orders_event
    FOR EACH ROW EXECUTE FUNCTION archive_forbid_change();
CREATE OR REPLACE TRIGGER archived_orders_evidence_kept BEFORE UPDATE OR DELETE ON archived_orders_evidence
    FOR EACH ROW EXECUTE FUNCTION archive_forbid_change();

-- The two functions behind the triggers of apps/orders/migrations/0002_append_only.py.

CREATE OR REPLACE FUNCTION orders_event_forbid_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM archived_orders_event a WHERE a.id = OLD.id AND ROW(a.*) IS NOT DISTINCT FROM ROW(OLD.*)) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'orders_event is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE OR REPLACE FUNCTION orders_evidence_forbid_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM archived_orders_evidence a WHERE a.id = OLD.id AND ROW(a.*) IS NOT DISTINCT FROM ROW(OLD.*)) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'orders_evidence is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- Orders about which nothing is left to do or to ask, and that are not archived yet.

CREATE OR REPLACE VIEW archivable_order AS
SELECT o.id, o.settled_at
FROM product_orders o
WHERE o.status IN ('completed', 'partial', 'rejected', 'cancelled', 'refunded') AND o.settled_at IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM archived_order a WHERE a.order_id = o.id)
  AND NOT EXISTS (SELECT 1 FROM orders_attempt a WHERE a.order_id = o.id
                  AND (a.closed_at IS NULL OR a.state IN ('prepared', 'sending', 'accepted', 'in_doubt')))
  AND NOT EXISTS (SELECT 1 FROM orders_attempt a JOIN orders_due_check d ON d.attempt_id = a.id WHERE a.order_id = o.id)
  AND NOT EXISTS (SELECT 1 FROM orders_due_check d WHERE d.order_id = o.id AND d.kind = 'dispatch')
  AND NOT EXISTS (SELECT 1 FROM orders_case c WHERE c.order_id = o.id AND c.closed_at IS NULL)
  AND NOT EXISTS (SELECT 1 FROM orders_approval p WHERE p.order_id = o.id AND p.status = 'pending')
  AND NOT EXISTS (SELECT 1 FROM orders_attempt a JOIN orders_break b ON b.attempt_id = a.id
                  WHERE a.order_id = o.id AND b.closed_at IS NULL);

-- The whole story of an order, archived or not: SELECT * FROM whole_orders_event WHERE order_id = 1234 ORDER BY id;

CREATE OR REPLACE VIEW whole_orders_event AS
SELECT * FROM orders_event UNION ALL SELECT * FROM archived_orders_event;

CREATE OR REPLACE PROCEDURE archive_orders(settled_before timestamp with time zone, batch integer DEFAULT 1000)
LANGUAGE plpgsql AS $$
DECLARE
    last_id bigint := 0;
    locked bigint[];
    chosen bigint[];
    copied bigint;
    gone bigint;
    orders_done bigint := 0;
    rows_done bigint := 0;
BEGIN
    LOOP
        -- Whoever works on an order holds its lock: it waits for the next call.
        SELECT array_agg(id), max(id) INTO locked, last_id FROM (
            SELECT id FROM archivable_order WHERE settled_at < settled_before AND id > last_id
            ORDER BY id LIMIT batch FOR NO KEY UPDATE SKIP LOCKED
        ) found;
        EXIT WHEN locked IS NULL;
        -- Once more, now that nobody can change them: a Case may have come before the lock.
        SELECT array_agg(id) INTO chosen FROM archivable_order WHERE id = ANY (locked);
        CONTINUE WHEN chosen IS NULL;

        INSERT INTO archived_orders_event SELECT e.* FROM orders_event e
        WHERE e.order_id = ANY (chosen)
          AND e.id <> (SELECT max(last.id) FROM orders_event last WHERE last.order_id = e.order_id);
        GET DIAGNOSTICS copied = ROW_COUNT;
        DELETE FROM orders_event e USING archived_orders_event a WHERE a.id = e.id AND e.order_id = ANY (chosen);
        GET DIAGNOSTICS gone = ROW_COUNT;
        IF copied <> gone THEN
            RAISE EXCEPTION '% lines were copied, % left the story: nothing was moved', copied, gone;
        END IF;
        rows_done := rows_done + gone;

        INSERT INTO archived_orders_evidence SELECT e.* FROM orders_evidence e
        WHERE e.order_id = ANY (chosen)
          AND e.id <> (SELECT max(last.id) FROM orders_evidence last WHERE last.attempt_id = e.attempt_id)
          AND NOT EXISTS (SELECT 1 FROM orders_event k WHERE k.evidence_id = e.id);
        GET DIAGNOSTICS copied = ROW_COUNT;
        DELETE FROM orders_evidence e USING archived_orders_evidence a WHERE a.id = e.id AND e.order_id = ANY (chosen);
        GET DIAGNOSTICS gone = ROW_COUNT;
        IF copied <> gone THEN
            RAISE EXCEPTION '% answers were copied, % left: nothing was moved', copied, gone;
        END IF;
        rows_done := rows_done + gone;

        INSERT INTO archived_order (order_id, events, answers)
        SELECT done.id,
               (SELECT count(*) FROM archived_orders_event e WHERE e.order_id = done.id),
               (SELECT count(*) FROM archived_orders_evidence e WHERE e.order_id = done.id)
        FROM unnest(chosen) AS done (id);
        orders_done := orders_done + cardinality(chosen);
        COMMIT;
    END LOOP;
    RAISE NOTICE 'archived % orders, % rows', orders_done, rows_done;
END $$;

COMMIT;
