-- What must be true of the database at any moment, as read-only queries: each returns the rows that break it.
--
-- `python manage.py check_invariants` runs this file, and so do the tests. By hand it runs as it is:
--     psql -d DATABASE -f migrations_sql/check_invariants.sql        (leave out the blocks marked `only: sqlite`)
-- Every row names the rows to look at by id, and `what` is wrong; none shows a code, a credential or a recipient.
--
-- A block begins with `-- invariant: NAME`; the comment below it is its claim. `-- only: VENDOR` marks what has to be
-- written once per database. `manage.py check_money` looks closer at money: at each kind of transfer, its way, its key.


-- Buying (never two purchases)

-- invariant: unit_bought_twice
-- I1: no two attempts have bought one unit; one that delivered after the money went back is surplus and has its Case.
SELECT u.order_id, u.id AS unit_id, MIN(a.id) AS first_attempt_id, MAX(a.id) AS last_attempt_id,
       COUNT(*) || ' attempts bought this unit' AS what
FROM orders_attempt_unit au
JOIN orders_attempt a ON a.id = au.attempt_id
JOIN orders_unit u ON u.id = au.unit_id
WHERE a.state IN ('accepted', 'delivered', 'partial', 'reversed')
  AND NOT (a.is_surplus AND EXISTS (
      SELECT 1 FROM orders_case c WHERE c.attempt_id = a.id AND c.reason = 'late_delivery'))
GROUP BY u.order_id, u.id
HAVING COUNT(*) > 1;

-- invariant: unit_held_twice
-- I3: one unit is held by at most one attempt.
SELECT u.order_id, au.unit_id, COUNT(*) || ' attempts hold this unit' AS what
FROM orders_attempt_unit au
JOIN orders_unit u ON u.id = au.unit_id
WHERE au.holds
GROUP BY u.order_id, au.unit_id
HAVING COUNT(*) > 1;

-- invariant: attempt_let_go_of_a_unit
-- I3: an attempt that may have bought something, or may still buy it, holds its units; a surplus one has lost them.
SELECT a.order_id, a.id AS attempt_id, au.unit_id, 'it is ' || a.state || ' and does not hold this unit' AS what
FROM orders_attempt a
JOIN orders_attempt_unit au ON au.attempt_id = a.id
WHERE NOT au.holds AND NOT a.is_surplus
  AND a.state IN ('prepared', 'sending', 'accepted', 'in_doubt', 'delivered', 'reversed');

-- invariant: attempt_keeps_a_unit
-- I3: an attempt that certainly bought nothing, or was given up, holds no unit.
SELECT a.order_id, a.id AS attempt_id, au.unit_id, 'it is ' || a.state || ' and holds this unit' AS what
FROM orders_attempt a
JOIN orders_attempt_unit au ON au.attempt_id = a.id
WHERE au.holds AND a.state IN ('refused', 'not_sent', 'absent', 'failed', 'abandoned');

-- invariant: attempt_buys_nothing
-- I2: an attempt is written together with the units that it buys.
SELECT a.order_id, a.id AS attempt_id, 'it buys no unit' AS what
FROM orders_attempt a
WHERE NOT EXISTS (SELECT 1 FROM orders_attempt_unit au WHERE au.attempt_id = a.id);

-- invariant: attempt_buys_for_another_order
-- I14: the units of an attempt belong to its own order.
SELECT a.order_id, a.id AS attempt_id, u.id AS unit_id, 'the unit belongs to order ' || u.order_id AS what
FROM orders_attempt a
JOIN orders_attempt_unit au ON au.attempt_id = a.id
JOIN orders_unit u ON u.id = au.unit_id
WHERE u.order_id <> a.order_id;

-- invariant: reference_used_twice
-- I2: a reference belongs to one attempt of the whole installation.
SELECT MIN(a.order_id) AS order_id, MIN(a.id) AS first_attempt_id, MAX(a.id) AS last_attempt_id,
       COUNT(*) || ' attempts have one reference' AS what
FROM orders_attempt a
GROUP BY a.reference
HAVING COUNT(*) > 1 OR a.reference = '';

-- invariant: order_crosses_shops
-- I14: an order, its customer and the accounts that it is bought at belong to one shop.
SELECT o.id AS order_id, c.id AS customer_id, 'its customer is of shop ' || c.tenant_id AS what
FROM product_orders o
JOIN accounts_customer c ON c.id = o.customer_id
WHERE c.tenant_id <> o.tenant_id
UNION ALL
SELECT o.id, a.id, 'it was bought at an account of shop ' || i.tenant_id
FROM product_orders o
JOIN orders_attempt a ON a.order_id = o.id
JOIN providers_integration i ON i.id = a.integration_id
WHERE i.tenant_id <> o.tenant_id;


-- Creating (one wish, one order)

-- invariant: order_created_twice
-- I16: a customer's idempotency key and client reference each name one order, for ever.
SELECT MIN(o.id) AS order_id, MAX(o.id) AS other_order_id, 'one idempotency key, ' || COUNT(*) || ' orders' AS what
FROM product_orders o
GROUP BY o.customer_id, o.idempotency_key
HAVING COUNT(*) > 1
UNION ALL
SELECT MIN(o.id), MAX(o.id), 'one client reference, ' || COUNT(*) || ' orders'
FROM product_orders o
WHERE o.client_reference IS NOT NULL
GROUP BY o.customer_id, o.client_reference
HAVING COUNT(*) > 1;

-- invariant: order_is_not_its_units
-- I9: the units of an order are as many as were ordered, and their amounts sum up to its price.
SELECT o.id AS order_id, o.quantity || ' for ' || o.price_micros || ' micro-units were ordered, its units are '
       || COUNT(u.id) || ' for ' || COALESCE(SUM(u.amount_micros), 0) AS what
FROM product_orders o
LEFT JOIN orders_unit u ON u.order_id = o.id
GROUP BY o.id, o.quantity, o.price_micros
HAVING COUNT(u.id) <> o.quantity OR COALESCE(SUM(u.amount_micros), 0) <> o.price_micros;


-- Codes (each is kept, and given to one customer)

-- invariant: unit_paid_without_its_code
-- I6: a delivered attempt of a product with codes has a code for each of its units before anybody pays for it.
SELECT a.order_id, a.id AS attempt_id, 'units were charged and codes are missing' AS what
FROM orders_attempt a
JOIN product_orders o ON o.id = a.order_id
WHERE o.needs_code AND a.state = 'delivered' AND NOT a.is_surplus
  AND EXISTS (SELECT 1 FROM orders_attempt_unit au JOIN orders_unit u ON u.id = au.unit_id
              WHERE au.attempt_id = a.id AND au.holds AND u.status = 'captured')
  AND (SELECT COUNT(*) FROM orders_code c WHERE c.attempt_id = a.id AND NOT c.is_quarantined)
    < (SELECT COUNT(*) FROM orders_attempt_unit au WHERE au.attempt_id = a.id);

-- invariant: code_in_two_orders
-- I6, I14: a code is in one order; where a provider sold it twice, the order that came second has its Case.
SELECT c.order_id, c.id AS code_id, 'order ' || first.order_id || ' has the same code, and there is no Case' AS what
FROM orders_code c
JOIN orders_code first ON first.blind_index = c.blind_index AND first.order_id <> c.order_id AND first.id < c.id
WHERE NOT EXISTS (SELECT 1 FROM orders_case k WHERE k.attempt_id = c.attempt_id AND k.reason = 'code_sold_twice');

-- invariant: code_of_another_order
-- I6: a code lies with the order of the attempt that brought it.
SELECT c.order_id, c.id AS code_id, 'its attempt belongs to order ' || a.order_id AS what
FROM orders_code c
JOIN orders_attempt a ON a.id = c.attempt_id
WHERE a.order_id <> c.order_id;

-- invariant: code_shown_though_paid_back
-- I7: whoever got all the money back is shown no code; what comes late lies in quarantine.
SELECT c.order_id, c.id AS code_id, 'the order is ' || o.status || ' and its code is not in quarantine' AS what
FROM orders_code c
JOIN product_orders o ON o.id = c.order_id
WHERE o.status IN ('rejected', 'cancelled') AND NOT c.is_quarantined
  AND NOT EXISTS (SELECT 1 FROM orders_case k WHERE k.attempt_id = c.attempt_id AND k.resolution = 'charged');


-- Giving back (never for what was delivered)

-- invariant: unit_released_but_held
-- I7: the money of a unit goes back only when no attempt holds it, or the one that does left it out or was taken back.
SELECT u.order_id, u.id AS unit_id, a.id AS attempt_id, 'its money went back, and an attempt that is ' || a.state
       || ' holds it' AS what
FROM orders_unit u
JOIN orders_attempt_unit au ON au.unit_id = u.id
JOIN orders_attempt a ON a.id = au.attempt_id
WHERE u.status = 'released' AND au.holds AND a.state <> 'reversed'
  AND NOT (a.state = 'partial' AND COALESCE(a.delivered_units, 0) < (
      SELECT COUNT(*) FROM orders_attempt_unit x JOIN orders_unit y ON y.id = x.unit_id
      WHERE x.attempt_id = a.id AND y.n <= u.n));

-- invariant: unit_released_and_delivered
-- I7: a delivery of what was paid back is a person's question: it has a Case.
SELECT u.order_id, u.id AS unit_id, a.id AS attempt_id, 'its money went back, it was delivered, there is no Case' AS what
FROM orders_unit u
JOIN orders_attempt_unit au ON au.unit_id = u.id
JOIN orders_attempt a ON a.id = au.attempt_id
WHERE u.status = 'released'
  AND (a.state = 'delivered' OR a.state = 'partial' AND COALESCE(a.delivered_units, 0) >= (
      SELECT COUNT(*) FROM orders_attempt_unit x JOIN orders_unit y ON y.id = x.unit_id
      WHERE x.attempt_id = a.id AND y.n <= u.n))
  AND NOT EXISTS (SELECT 1 FROM orders_case c WHERE c.attempt_id = a.id AND c.reason = 'late_delivery');


-- Money (nothing comes from nowhere)

-- invariant: transfer_does_not_sum_to_zero
-- I8: the entries of a transfer sum up to zero in each currency, and there are some.
SELECT t.id AS transfer_id, e.currency, 'its entries sum up to ' || COALESCE(e.total, 0) AS what
FROM wallet_transfer t
LEFT JOIN (
    SELECT entry.transfer_id, account.currency, SUM(entry.amount_micros) AS total
    FROM wallet_entry entry
    JOIN wallet_account account ON account.id = entry.account_id
    GROUP BY entry.transfer_id, account.currency
) e ON e.transfer_id = t.id
WHERE e.transfer_id IS NULL OR e.total <> 0;

-- invariant: balance_is_not_its_entries
-- I8: a stored balance is the sum of the entries of its account.
SELECT a.id AS account_id, 'stored are ' || a.balance_micros || ', its entries sum up to ' || COALESCE(e.total, 0) AS what
FROM wallet_account a
LEFT JOIN (
    SELECT entry.account_id, SUM(entry.amount_micros) AS total FROM wallet_entry entry GROUP BY entry.account_id
) e ON e.account_id = a.id
WHERE a.balance_micros IS NOT NULL AND a.balance_micros <> COALESCE(e.total, 0);

-- invariant: wallet_below_its_limit
-- I8: no customer has spent more than the wallet and its credit line hold.
SELECT a.id AS account_id, a.balance_micros || ' with a credit line of ' || a.limit_micros AS what
FROM wallet_account a
WHERE a.balance_micros < -a.limit_micros;

-- invariant: hold_is_not_the_price
-- I9: what was held at creation is the price of the order, once.
SELECT o.id AS order_id, 'held were ' || COALESCE(h.micros, 0) || ' for a price of ' || o.price_micros AS what
FROM product_orders o
LEFT JOIN (
    SELECT t.subject_id, SUM(e.amount_micros) AS micros
    FROM wallet_transfer t
    JOIN wallet_entry e ON e.transfer_id = t.id AND e.amount_micros > 0
    WHERE t.kind = 'hold' AND t.subject_kind = 'order'
    GROUP BY t.subject_id
) h ON h.subject_id = o.id
WHERE COALESCE(h.micros, 0) <> o.price_micros;

-- invariant: unit_money_is_not_its_status
-- I9: a held unit was neither captured nor released; a captured or released one is accounted for to the last micro-unit.
SELECT u.order_id, u.id AS unit_id, 'it is ' || u.status || ': ' || COALESCE(m.captured, 0) || ' captured, '
       || COALESCE(m.released, 0) || ' released of ' || u.amount_micros AS what
FROM orders_unit u
LEFT JOIN (
    SELECT t.key, SUM(CASE WHEN t.kind = 'capture' THEN e.amount_micros ELSE 0 END) AS captured,
           SUM(CASE WHEN t.kind = 'release' THEN e.amount_micros ELSE 0 END) AS released
    FROM (SELECT id, kind, REPLACE(REPLACE(key, 'capture:unit:', ''), 'release:unit:', '') AS key
          FROM wallet_transfer WHERE kind IN ('capture', 'release')) t
    JOIN wallet_entry e ON e.transfer_id = t.id AND e.amount_micros > 0
    GROUP BY t.key
) m ON m.key = CAST(u.id AS TEXT)
WHERE NOT CASE u.status
    WHEN 'held' THEN COALESCE(m.captured, 0) = 0 AND COALESCE(m.released, 0) = 0
    WHEN 'captured' THEN COALESCE(m.captured, 0) > 0 AND m.captured + m.released = u.amount_micros
    ELSE COALESCE(m.captured, 0) = 0 AND COALESCE(m.released, 0) = u.amount_micros
END;

-- invariant: order_status_is_not_its_money
-- I9: completed is all captured, rejected and cancelled all released, partial some of each; open orders hold money.
SELECT o.id AS order_id, 'it is ' || o.status || ' with ' || u.held || ' units held, ' || u.captured || ' captured, '
       || u.released || ' released' AS what
FROM product_orders o
JOIN (
    SELECT order_id, SUM(CASE status WHEN 'held' THEN 1 ELSE 0 END) AS held,
           SUM(CASE status WHEN 'captured' THEN 1 ELSE 0 END) AS captured,
           SUM(CASE status WHEN 'released' THEN 1 ELSE 0 END) AS released
    FROM orders_unit
    GROUP BY order_id
) u ON u.order_id = o.id
WHERE NOT CASE o.status
    WHEN 'completed' THEN u.held = 0 AND u.released = 0
    WHEN 'partial' THEN u.held = 0 AND u.captured > 0
    WHEN 'rejected' THEN u.held = 0 AND u.captured = 0
    WHEN 'cancelled' THEN u.held = 0 AND u.captured = 0
    WHEN 'refunded' THEN u.held = 0 AND u.captured > 0
    ELSE u.held > 0
END;

-- invariant: order_brought_is_not_the_ledger
-- I9: what the order says that it brought is what was captured or charged later, less what was given back.
SELECT o.id AS order_id, 'it says ' || o.captured_micros || ', the ledger says ' || COALESCE(m.micros, 0) AS what
FROM product_orders o
LEFT JOIN (
    SELECT t.subject_id, SUM(CASE t.kind WHEN 'sale_reversal' THEN -e.amount_micros ELSE e.amount_micros END) AS micros
    FROM wallet_transfer t
    JOIN wallet_entry e ON e.transfer_id = t.id AND e.amount_micros > 0
    WHERE t.kind IN ('capture', 'late_sale', 'sale_reversal') AND t.subject_kind = 'order'
    GROUP BY t.subject_id
) m ON m.subject_id = o.id
WHERE o.captured_micros <> COALESCE(m.micros, 0);


-- The queue of record (nothing is ever forgotten)

-- invariant: order_forgotten
-- I11: an open order is due, or in a person's queue: in review.
SELECT o.id AS order_id, 'it is ' || o.status || ' and nothing of it is due' AS what
FROM product_orders o
WHERE o.status IN ('pending', 'processing')
  AND NOT EXISTS (SELECT 1 FROM orders_due_check d WHERE d.order_id = o.id AND d.kind <> 'watch');

-- invariant: free_unit_is_not_sent
-- I11: a unit that nobody holds, of an order that may be sent, is due for dispatch.
SELECT u.order_id, u.id AS unit_id, 'nobody holds it, and the order is not due for dispatch' AS what
FROM product_orders o
JOIN orders_unit u ON u.order_id = o.id
WHERE o.status IN ('pending', 'processing') AND u.status = 'held'
  AND NOT EXISTS (SELECT 1 FROM orders_attempt_unit au WHERE au.unit_id = u.id AND au.holds)
  AND NOT EXISTS (SELECT 1 FROM orders_due_check d WHERE d.order_id = o.id AND d.kind = 'dispatch');

-- invariant: attempt_is_not_asked_about
-- I11: an attempt about which the provider has not had its last word is due.
SELECT a.order_id, a.id AS attempt_id, 'it is ' || a.state || ' and not due' AS what
FROM orders_attempt a
WHERE a.state IN ('prepared', 'sending', 'accepted', 'in_doubt')
  AND NOT EXISTS (SELECT 1 FROM orders_due_check d WHERE d.attempt_id = a.id);

-- invariant: missing_code_is_not_asked_for
-- I11: a delivered attempt that owes a code for which money is held is due.
SELECT a.order_id, a.id AS attempt_id, 'it owes a code and is not due' AS what
FROM orders_attempt a
JOIN product_orders o ON o.id = a.order_id
WHERE o.needs_code AND o.status IN ('pending', 'processing', 'review') AND a.state = 'delivered' AND NOT a.is_surplus
  AND NOT EXISTS (SELECT 1 FROM orders_due_check d WHERE d.attempt_id = a.id)
  AND (SELECT COUNT(*) FROM orders_code c WHERE c.attempt_id = a.id AND NOT c.is_quarantined)
    < (SELECT COUNT(*) FROM orders_attempt_unit au WHERE au.attempt_id = a.id);

-- invariant: settled_order_is_still_sent
-- I11: an order with no money held is not due for dispatch.
SELECT d.order_id, d.id AS due_id, 'the order is ' || o.status || ' and due for dispatch' AS what
FROM orders_due_check d
JOIN product_orders o ON o.id = d.order_id
WHERE d.kind = 'dispatch' AND o.status NOT IN ('pending', 'processing');

-- invariant: due_row_leads_nowhere
-- I11: a due row is in the lane of its attempt's account, and its attempt is its order's; a dispatch is in lane 0.
SELECT d.order_id, d.id AS due_id, 'kind ' || d.kind || ' in lane ' || d.lane || ' leads to no attempt of this order' AS what
FROM orders_due_check d
LEFT JOIN product_orders o ON o.id = d.order_id
LEFT JOIN orders_attempt a ON a.id = d.attempt_id
WHERE o.id IS NULL
   OR (d.kind = 'dispatch' AND (d.lane <> 0 OR d.attempt_id IS NOT NULL))
   OR (d.kind <> 'dispatch' AND (a.id IS NULL OR a.order_id <> d.order_id OR a.integration_id <> d.lane));

-- invariant: due_row_is_too_far_away
-- I11: nothing waits for longer than a day and an hour since it was last looked at.
-- only: postgresql
SELECT d.order_id, d.id AS due_id, 'kind ' || d.kind || ' is due at ' || d.next_at AS what
FROM orders_due_check d
JOIN product_orders o ON o.id = d.order_id
WHERE d.kind <> 'watch' AND d.next_at > GREATEST(d.asked_at, d.same_since, o.updated_at, CURRENT_TIMESTAMP)
    + INTERVAL '25 hours';

-- invariant: due_row_is_too_far_away
-- I11: nothing waits for longer than a day and an hour since it was last looked at.
-- only: sqlite
SELECT d.order_id, d.id AS due_id, 'kind ' || d.kind || ' is due at ' || d.next_at AS what
FROM orders_due_check d
JOIN product_orders o ON o.id = d.order_id
WHERE d.kind <> 'watch' AND julianday(d.next_at) > 25.0 / 24 + MAX(
    julianday(COALESCE(d.asked_at, o.updated_at)), julianday(COALESCE(d.same_since, o.updated_at)),
    julianday(o.updated_at), julianday('now'));

-- invariant: case_about_nothing
-- I10: a Case is about an attempt of its own order.
SELECT c.order_id, c.id AS case_id, 'its attempt belongs to order ' || a.order_id AS what
FROM orders_case c
JOIN orders_attempt a ON a.id = c.attempt_id
WHERE a.order_id <> c.order_id;


-- The story (every change is told, and none is forbidden)

-- invariant: order_story_jumps
-- I5: each line of an order's story follows from the one before by edges of the table; what has ended stays ended.
SELECT told.order_id, told.id AS event_id, 'from ' || told.before || ' to ' || told.status AS what
FROM (
    SELECT e.id, e.order_id, e.status, LAG(e.status) OVER (PARTITION BY e.order_id ORDER BY e.id) AS before
    FROM orders_event e
) told
WHERE told.before <> told.status
  AND told.before || ' ' || told.status NOT IN (
    -- The send makes an order `processing` without a line of its own: the answer tells it.
    'pending processing', 'pending cancelled', 'pending review', 'pending completed', 'pending partial',
    'pending rejected',
    'processing pending', 'processing completed', 'processing partial', 'processing rejected', 'processing review',
    'review processing', 'review pending', 'review completed', 'review partial', 'review rejected',
    'completed refunded', 'partial refunded'
  );

-- invariant: order_is_not_where_its_story_ends
-- I17: the last line of the story says where the order stands; only while a request is under way it may be ahead.
SELECT o.id AS order_id, e.id AS event_id, 'it is ' || o.status || ' ' || o.external_status || ' ' || o.reason
       || ', its story ends with ' || COALESCE(e.status || ' ' || e.external_status || ' ' || e.reason, 'nothing') AS what
FROM product_orders o
LEFT JOIN (SELECT order_id, MAX(id) AS id FROM orders_event GROUP BY order_id) last ON last.order_id = o.id
LEFT JOIN orders_event e ON e.id = last.id
WHERE e.id IS NULL
   OR ((e.status <> o.status OR e.external_status <> o.external_status OR e.reason <> o.reason)
       AND NOT (o.status = 'processing' AND o.external_status = 'sending' AND e.status IN ('pending', 'processing')));

-- invariant: attempt_story_jumps
-- I5: what the story tells of an attempt follows by edges of the table; a send under its own reference is not told.
-- only: postgresql
SELECT told.order_id, told.id AS event_id, 'from ' || told.before || ' to ' || told.state AS what
FROM (
    SELECT e.id, e.order_id, e.data ->> 'attempt_state' AS state,
           LAG(e.data ->> 'attempt_state') OVER (PARTITION BY e.attempt_id ORDER BY e.id) AS before
    FROM orders_event e
    WHERE e.attempt_id IS NOT NULL AND e.data ->> 'attempt_state' IS NOT NULL
) told
WHERE told.before <> told.state
  AND told.before || ' ' || told.state NOT IN (
    'sending accepted', 'sending delivered', 'sending partial', 'sending failed', 'sending refused',
    'sending not_sent', 'sending in_doubt',
    'not_sent prepared', 'not_sent sending', 'not_sent accepted', 'not_sent delivered', 'not_sent partial',
    'not_sent failed', 'not_sent refused', 'not_sent in_doubt',
    'prepared sending', 'prepared accepted', 'prepared delivered', 'prepared partial', 'prepared failed',
    'prepared refused', 'prepared not_sent', 'prepared in_doubt',
    'in_doubt sending', 'in_doubt accepted', 'in_doubt delivered', 'in_doubt partial', 'in_doubt failed',
    'in_doubt refused', 'in_doubt absent', 'in_doubt abandoned', 'in_doubt not_sent',
    'accepted delivered', 'accepted partial', 'accepted failed', 'accepted abandoned',
    'refused delivered', 'failed delivered', 'absent delivered', 'abandoned delivered', 'delivered reversed'
  );

-- invariant: attempt_story_jumps
-- I5: what the story tells of an attempt follows by edges of the table; a send under its own reference is not told.
-- only: sqlite
SELECT told.order_id, told.id AS event_id, 'from ' || told.before || ' to ' || told.state AS what
FROM (
    SELECT e.id, e.order_id, json_extract(e.data, '$.attempt_state') AS state,
           LAG(json_extract(e.data, '$.attempt_state')) OVER (PARTITION BY e.attempt_id ORDER BY e.id) AS before
    FROM orders_event e
    WHERE e.attempt_id IS NOT NULL AND json_extract(e.data, '$.attempt_state') IS NOT NULL
) told
WHERE told.before <> told.state
  AND told.before || ' ' || told.state NOT IN (
    'sending accepted', 'sending delivered', 'sending partial', 'sending failed', 'sending refused',
    'sending not_sent', 'sending in_doubt',
    'not_sent prepared', 'not_sent sending', 'not_sent accepted', 'not_sent delivered', 'not_sent partial',
    'not_sent failed', 'not_sent refused', 'not_sent in_doubt',
    'prepared sending', 'prepared accepted', 'prepared delivered', 'prepared partial', 'prepared failed',
    'prepared refused', 'prepared not_sent', 'prepared in_doubt',
    'in_doubt sending', 'in_doubt accepted', 'in_doubt delivered', 'in_doubt partial', 'in_doubt failed',
    'in_doubt refused', 'in_doubt absent', 'in_doubt abandoned', 'in_doubt not_sent',
    'accepted delivered', 'accepted partial', 'accepted failed', 'accepted abandoned',
    'refused delivered', 'failed delivered', 'absent delivered', 'abandoned delivered', 'delivered reversed'
  );

-- invariant: evidence_of_another_order
-- I17: what a story or a raw answer is about belongs to the same order.
SELECT e.order_id, e.id AS event_id, 'it tells of an attempt of order ' || a.order_id AS what
FROM orders_event e
JOIN orders_attempt a ON a.id = e.attempt_id
WHERE a.order_id <> e.order_id
UNION ALL
SELECT e.order_id, e.id, 'this raw answer is about an attempt of order ' || a.order_id
FROM orders_evidence e
JOIN orders_attempt a ON a.id = e.attempt_id
WHERE a.order_id <> e.order_id;

-- invariant: answer_without_evidence
-- I17: an attempt that went beyond its send has a raw answer, or the story of who said so.
SELECT a.order_id, a.id AS attempt_id, 'it is ' || a.state || ' and nothing tells why' AS what
FROM orders_attempt a
WHERE a.state NOT IN ('prepared', 'sending')
  AND NOT EXISTS (SELECT 1 FROM orders_evidence e WHERE e.attempt_id = a.id)
  AND NOT EXISTS (SELECT 1 FROM orders_event e WHERE e.attempt_id = a.id);

-- invariant: status_not_told
-- The newest event of an order for its customer tells the status that the order has.
SELECT o.id AS order_id, e.id AS event_id, 'it is ' || o.status || ', the last event is ' || e.kind AS what
FROM product_orders o
JOIN journal_outbox_event e ON e.id = (
    SELECT MAX(last.id) FROM journal_outbox_event last WHERE last.subject_kind = 'order' AND last.subject_id = o.id
)
WHERE e.kind <> 'order.' || CASE o.status WHEN 'review' THEN 'held' ELSE o.status END;
