-- Adds the column provider_referans and its index to product_orders, for a PostgreSQL database whose tables belong to
-- somebody else than the user that the hub connects as. Run it as the owner of the table (or as a superuser):
--
--     psql -U OWNER -d DATABASE -v ON_ERROR_STOP=1 -f migrations_sql/migration_provider_referans.sql
--
-- It makes exactly what apps/orders/migrations/0001_add_provider_referans.py makes. Both may run, in any order, any
-- number of times. The new column needs no rewrite of the table; the index blocks writes while it is built. On a table
-- with millions of orders build it beforehand, outside a transaction, with CREATE INDEX CONCURRENTLY and the same name.

BEGIN;

-- Rather give up than make every order wait behind a long transaction. Run it again then.
SET LOCAL lock_timeout = '10s';

ALTER TABLE product_orders ADD COLUMN IF NOT EXISTS provider_referans varchar(64) DEFAULT '' NOT NULL;

CREATE INDEX IF NOT EXISTS idx_orders_provider_referans ON product_orders (provider_referans);

COMMIT;
