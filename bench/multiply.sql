-- Multiplies the demo certificate 1539: :rows copies with ids from :first on, each with a chain of :changes changes.
-- The same text serves both backends; the caller fills in the numbers.

INSERT INTO change (id, account_id, kind, record_id, version, previous_id, at, actor, dialect, request_id,
                    action, before, after)
WITH RECURSIVE copy (number) AS (
    SELECT 0 UNION ALL SELECT number + 1 FROM copy WHERE number + 1 < :rows
), step (version) AS (
    SELECT 1 UNION ALL SELECT version + 1 FROM step WHERE version + 1 <= :changes
)
SELECT :base + (step.version - 1) * :rows + copy.number,
       original.account_id,
       original.kind,
       CAST(:first + copy.number AS TEXT),
       step.version,
       CASE WHEN step.version = 1 THEN NULL ELSE :base + (step.version - 2) * :rows + copy.number END,
       original.at,
       original.actor,
       original.dialect,
       original.request_id,
       CASE WHEN step.version = 1 THEN original.action ELSE 'edit' END,
       CASE WHEN step.version = 1 THEN original.before ELSE :before END,
       CASE WHEN step.version = 1 THEN original.after ELSE :after END
FROM step, copy, achievement
JOIN change AS original ON original.id = achievement.change_id
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
