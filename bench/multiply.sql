-- Multiplies the demo certificate 1539, which has been edited once: :rows copies with ids from :first on, each with
-- a chain of :changes changes, of which the first made it and the others are that edit, :changes being two or more.
-- The same text serves both backends; the caller fills in the numbers.

INSERT INTO change (id, account_id, kind, record_id, version, previous_id, at, actor, dialect, request_id,
                    action, before, after)
WITH RECURSIVE copy (number) AS (
    SELECT 0 UNION ALL SELECT number + 1 FROM copy WHERE number + 1 < :rows
), step (version) AS (
    SELECT 1 UNION ALL SELECT version + 1 FROM step WHERE version + 1 <= :changes
)
SELECT :base + (step.version - 1) * :rows + copy.number,
       edited.account_id,
       edited.kind,
       CAST(:first + copy.number AS TEXT),
       step.version,
       CASE WHEN step.version = 1 THEN NULL ELSE :base + (step.version - 2) * :rows + copy.number END,
       CASE WHEN step.version = 1 THEN made.at ELSE edited.at END,
       CASE WHEN step.version = 1 THEN made.actor ELSE edited.actor END,
       CASE WHEN step.version = 1 THEN made.dialect ELSE edited.dialect END,
       CASE WHEN step.version = 1 THEN made.request_id ELSE edited.request_id END,
       CASE WHEN step.version = 1 THEN made.action ELSE edited.action END,
       CASE WHEN step.version = 1 THEN made.before ELSE edited.before END,
       CASE WHEN step.version = 1 THEN made.after ELSE edited.after END
FROM step, copy, achievement
JOIN change AS edited ON edited.id = achievement.change_id
JOIN change AS made ON made.id = edited.previous_id
WHERE achievement.id = 1539;

-- One certificate a minute, so that a range of dates holds the same number in every size of table.
INSERT INTO achievement (id, account_id, version, change_id, created_at, updated_at, form_id, person_id,
                         certificate_number, issued_at, body)
WITH RECURSIVE copy (number) AS (
    SELECT 0 UNION ALL SELECT number + 1 FROM copy WHERE number + 1 < :rows
)
SELECT :first + copy.number,
       account_id,
       :changes,
       :base + (:changes - 1) * :rows + copy.number,
       created_at,
       updated_at,
       form_id,
       person_id,
       'BENCH-' || (:first + copy.number),
       1577836800000000 + CAST(copy.number AS BIGINT) * 60000000,
       body
FROM copy, achievement
WHERE achievement.id = 1539;
