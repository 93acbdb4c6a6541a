-- :rows people with Korean names of uneven frequency, an e-mail address each, and a certificate of the demo form each.
-- The same text serves both backends; the caller fills in the numbers.

INSERT INTO change (id, account_id, kind, record_id, version, previous_id, at, actor, dialect, request_id,
                    action, before, after)
WITH RECURSIVE copy (number) AS (
    SELECT CAST(0 AS BIGINT) UNION ALL SELECT number + 1 FROM copy WHERE number + 1 < 2 * :rows
)
SELECT :base + copy.number,
       3,
       CASE WHEN copy.number < :rows THEN 'person' ELSE 'achievement' END,
       CAST(:first + copy.number % :rows AS TEXT),
       1,
       NULL,
       1577836800000000,
       'operator',
       'native',
       'bench',
       'create',
       'null',
       '{}'
FROM copy;

INSERT INTO person (id, account_id, version, change_id, created_at, updated_at, name_key, email_key, body)
WITH RECURSIVE copy (number) AS (
    SELECT CAST(0 AS BIGINT) UNION ALL SELECT number + 1 FROM copy WHERE number + 1 < :rows
), named (number, name, email) AS (
    SELECT number,
           substr('김김김김김이이이이박박박최최정정강조윤장임한오서신권황안송류홍전고문손양배백허유남심노하곽성차주우구나민진지엄채원천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모탁국어은편용',
                  1 + CAST(number * 7919 % 96 AS INTEGER), 1)
           || substr('가강건경고관광교규근기길나남다단대도동두라란래리마만명문미민백범별병보복빈상서석선성세소솔수숙순승시신아안연열영예오옥용우운원유윤은의이인일자재정제종주준중지진찬창채천철초춘충치태하한해혁현형혜호홍화환효후훈희',
                  1 + CAST(number / 96 * 31 % 104 AS INTEGER), 1)
           || substr('가강건경고관광교규근기길나남다단대도동두라란래리마만명문미민백범별병보복빈상서석선성세소솔수숙순승시신아안연열영예오옥용우운원유윤은의이인일자재정제종주준중지진찬창채천철초춘충치태하한해혁현형혜호홍화환효후훈희',
                  1 + CAST(number / 9984 * 17 % 104 AS INTEGER), 1),
           'learner' || number || '@mail' || (number % 50) || '.example.com'
    FROM copy
)
SELECT :first + number, 3, 1, :base + number, 1577836800000000, 1577836800000000, name, email,
       '{"name":"' || name || '","email":"' || email || '"}'
FROM named;

-- One certificate a minute.
INSERT INTO achievement (id, account_id, version, change_id, created_at, updated_at, form_id, person_id,
                         certificate_number, issued_at, body)
WITH RECURSIVE copy (number) AS (
    SELECT CAST(0 AS BIGINT) UNION ALL SELECT number + 1 FROM copy WHERE number + 1 < :rows
)
SELECT :first + number, 3, 1, :base + :rows + number, 1577836800000000, 1577836800000000, 482, :first + number,
       'PEOPLE-' || (:first + number), 1577836800000000 + CAST(number AS BIGINT) * 60000000, '{}'
FROM copy;
