-- Makes PostgreSQL refuse a commit that leaves a transfer of the ledger without entries, or with entries that do not sum
-- to zero in each currency. For a database whose tables belong to somebody else than the user that the hub connects as;
-- run it as the owner of the tables (or as a superuser):
--
--     psql -U OWNER -d DATABASE -v ON_ERROR_STOP=1 -f migrations_sql/migration_wallet_balanced.sql
--
-- It makes exactly the two deferred triggers that apps/wallet/migrations/0004_balanced_and_frozen.py makes, and may be
-- run again. SQLite has no deferred triggers: there the hub's one writer of money checks the sums before it writes.

BEGIN;

SET LOCAL lock_timeout = '10s';

CREATE OR REPLACE FUNCTION wallet_entry_sums_to_zero() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$ BEGIN IF EXISTS (SELECT 1 FROM wallet_entry JOIN wallet_account ON wallet_account.id = wallet_entry.account_id WHERE wallet_entry.transfer_id = NEW.transfer_id GROUP BY wallet_account.currency HAVING SUM(wallet_entry.amount_micros) <> 0) THEN RAISE EXCEPTION 'the entries of a transfer must sum to zero in each currency' USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NULL; END $$;

DROP TRIGGER IF EXISTS wallet_entry_sums_to_zero ON wallet_entry;
CREATE CONSTRAINT TRIGGER wallet_entry_sums_to_zero AFTER INSERT ON wallet_entry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wallet_entry_sums_to_zero();

CREATE OR REPLACE FUNCTION wallet_transfer_has_entries() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$ BEGIN IF EXISTS (SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM wallet_entry WHERE wallet_entry.transfer_id = NEW.id)) THEN RAISE EXCEPTION 'a transfer must have entries' USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NULL; END $$;

DROP TRIGGER IF EXISTS wallet_transfer_has_entries ON wallet_transfer;
CREATE CONSTRAINT TRIGGER wallet_transfer_has_entries AFTER INSERT ON wallet_transfer DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wallet_transfer_has_entries();

COMMIT;
