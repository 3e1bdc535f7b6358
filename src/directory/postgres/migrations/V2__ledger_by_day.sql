-- The ledger in one table a day, so that old days are dropped whole. A day nobody made a table for goes to the default
-- one: an insert never fails.

ALTER TABLE ledger RENAME TO ledger_before;
ALTER INDEX ledger_pkey RENAME TO ledger_before_pkey;
ALTER INDEX ledger_by_id RENAME TO ledger_before_by_id;
ALTER INDEX ledger_by_settlement RENAME TO ledger_before_by_settlement;
ALTER INDEX ledger_of_key RENAME TO ledger_before_of_key;

CREATE TABLE ledger (
    LIKE ledger_before INCLUDING DEFAULTS,
    PRIMARY KEY (day, id, sequence)
) PARTITION BY RANGE (day);
CREATE INDEX ledger_by_id ON ledger (id);
CREATE INDEX ledger_by_settlement ON ledger (settled_at, id, sequence);
CREATE INDEX ledger_of_key ON ledger (token, settled_at, id, sequence);
CREATE TABLE ledger_default PARTITION OF ledger DEFAULT;

INSERT INTO ledger SELECT * FROM ledger_before;
DROP TABLE ledger_before;
