-- sqlite:
-- Whose file it is: "Haks".
PRAGMA application_id = 1214344051;

-- both:
-- Every record table has the same first columns: id, owner, version, newest change, times.
-- Instants are microseconds since 1970, UTC. A deleted row stays, with deleted_at set.

CREATE TABLE account (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    club_domain_key TEXT,
    ncloud_account_no TEXT,
    solapi_account_id TEXT,
    portal_url TEXT,
    body TEXT NOT NULL,
    UNIQUE (club_domain_key),
    UNIQUE (ncloud_account_no),
    UNIQUE (solapi_account_id),
    UNIQUE (portal_url)
){| WITH (fillfactor = 70)};

CREATE TABLE department (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    parent_id TEXT REFERENCES department (id) DEFERRABLE INITIALLY DEFERRED,
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};
CREATE INDEX department_by_parent_id ON department (parent_id);

CREATE TABLE role (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};
-- postgres:

-- Runs of three characters of a text, for searches. Two more characters stand behind the text, so that
-- every part of one or two characters is the beginning of a run. Of a very long text, the beginning.
CREATE FUNCTION haksa_grams(searched TEXT) RETURNS TSVECTOR
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    padded TEXT := left(searched, 10000) || E'\n\n';
    grams TEXT[];
BEGIN
    FOR place IN 1 .. length(padded) - 2 LOOP
        grams[place] := substr(padded, place, 3);
    END LOOP;
    RETURN array_to_tsvector(grams);
END
$$;

-- For whoever writes a person without them: Haksa brings the grams along, ten times as fast.
CREATE FUNCTION haksa_keep_grams() RETURNS TRIGGER
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.grams := haksa_grams(NEW.name_key || E'\n' || coalesce(NEW.email_key, ''));
    RETURN NEW;
END
$$;
-- both:

CREATE TABLE person (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    name_key TEXT NOT NULL,
    email_key TEXT,
    phone_key TEXT,
    login_key TEXT,
    learner_id TEXT,
    department_id TEXT REFERENCES department (id){ DEFERRABLE INITIALLY DEFERRED|},
-- postgres:
    grams TSVECTOR NOT NULL,
-- both:
    body TEXT NOT NULL
){| WITH (fillfactor = 70)};
-- Most people have few of these.
CREATE INDEX person_by_email_key ON person (email_key) WHERE email_key IS NOT NULL;
CREATE INDEX person_by_phone_key ON person (phone_key) WHERE phone_key IS NOT NULL;
CREATE INDEX person_by_login_key ON person (login_key) WHERE login_key IS NOT NULL;
CREATE UNIQUE INDEX person_learner_id_key ON person (learner_id) WHERE learner_id IS NOT NULL;
CREATE INDEX person_by_department_id ON person (department_id) WHERE department_id IS NOT NULL;
-- sqlite:

-- Runs of three characters of names and e-mails, for searches. Two more characters stand behind each
-- text, so that every part of one or two characters is the beginning of a run.
CREATE VIRTUAL TABLE person_search USING fts5 (
    text, content='', detail=none, tokenize='trigram case_sensitive 1'
);
-- What is taken out is overwritten at once.
INSERT INTO person_search (person_search, rank) VALUES ('secure-delete', 1);
CREATE VIRTUAL TABLE person_search_terms USING fts5vocab (person_search, instance);
CREATE TRIGGER person_search_insert AFTER INSERT ON person BEGIN
    INSERT INTO person_search (rowid, text)
    VALUES (new.id, new.name_key || char(10) || coalesce(new.email_key, '') || char(10, 10));
END;
CREATE TRIGGER person_search_update AFTER UPDATE OF name_key, email_key ON person
WHEN old.name_key IS NOT new.name_key OR old.email_key IS NOT new.email_key BEGIN
    INSERT INTO person_search (person_search, rowid, text)
    VALUES ('delete', old.id, old.name_key || char(10) || coalesce(old.email_key, '') || char(10, 10));
    INSERT INTO person_search (rowid, text)
    VALUES (new.id, new.name_key || char(10) || coalesce(new.email_key, '') || char(10, 10));
END;
CREATE TRIGGER person_search_delete AFTER DELETE ON person BEGIN
    INSERT INTO person_search (person_search, rowid, text)
    VALUES ('delete', old.id, old.name_key || char(10) || coalesce(old.email_key, '') || char(10, 10));
END;
-- postgres:
CREATE INDEX person_by_grams ON person USING gin (grams);
CREATE TRIGGER person_grams_insert BEFORE INSERT ON person FOR EACH ROW
    WHEN (NEW.grams IS NULL) EXECUTE FUNCTION haksa_keep_grams();
CREATE TRIGGER person_grams_update BEFORE UPDATE OF name_key, email_key ON person FOR EACH ROW
    WHEN (NEW.grams = OLD.grams
        AND (NEW.name_key, NEW.email_key) IS DISTINCT FROM (OLD.name_key, OLD.email_key))
    EXECUTE FUNCTION haksa_keep_grams();
-- both:

CREATE TABLE credential (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    public_id TEXT,
    secret_hash TEXT,
    person_id BIGINT REFERENCES person (id){ DEFERRABLE INITIALLY DEFERRED|},
    body TEXT NOT NULL,
    UNIQUE (public_id)
){| WITH (fillfactor = 70)};
CREATE INDEX credential_by_secret_hash ON credential (secret_hash);
CREATE INDEX credential_by_person_id ON credential (person_id);

CREATE TABLE throttle (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};

-- What pictures show, by its hash: one copy, whoever has it.
CREATE TABLE content (
    hash TEXT PRIMARY KEY,
    bytes {BLOB|BYTEA} NOT NULL
);
-- postgres:
-- Pictures are compressed already.
ALTER TABLE content ALTER COLUMN bytes SET STORAGE EXTERNAL;
-- both:

CREATE TABLE image (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    content_hash TEXT NOT NULL REFERENCES content (hash) DEFERRABLE INITIALLY DEFERRED,
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};
CREATE INDEX image_by_content_hash ON image (content_hash);

CREATE TABLE design (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    design_type TEXT NOT NULL,
    image_id TEXT REFERENCES image (id){ DEFERRABLE INITIALLY DEFERRED|},
    body TEXT NOT NULL,
    CHECK (design_type IN ('certificate', 'badge'))
){| WITH (fillfactor = 70)};
CREATE INDEX design_by_account_id ON design (account_id, id);
CREATE INDEX design_by_account_id_design_type ON design (account_id, design_type, created_at, id);
CREATE INDEX design_by_image_id ON design (image_id);

CREATE TABLE form (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    name_key TEXT NOT NULL,
    certificate_design_id BIGINT REFERENCES design (id){ DEFERRABLE INITIALLY DEFERRED|},
    badge_design_id BIGINT REFERENCES design (id){ DEFERRABLE INITIALLY DEFERRED|},
    body TEXT NOT NULL
){| WITH (fillfactor = 70)};

CREATE INDEX form_by_account_id ON form (account_id, created_at, id);
CREATE INDEX form_by_certificate_design_id ON form (certificate_design_id);
CREATE INDEX form_by_badge_design_id ON form (badge_design_id);

CREATE TABLE achievement (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    form_id BIGINT NOT NULL REFERENCES form (id){ DEFERRABLE INITIALLY DEFERRED|},
    person_id BIGINT NOT NULL REFERENCES person (id){ DEFERRABLE INITIALLY DEFERRED|},
    certificate_number TEXT NOT NULL,
    holder_key TEXT,
    issued_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (certificate_number)
){| WITH (fillfactor = 70)};
CREATE INDEX achievement_by_account_id_issued_at_id ON achievement (account_id, issued_at, id)
    WHERE deleted_at IS NULL;
CREATE INDEX achievement_by_person_id ON achievement (person_id) WHERE deleted_at IS NULL;
CREATE INDEX achievement_by_form_id ON achievement (form_id, issued_at) WHERE deleted_at IS NULL;

CREATE TABLE message (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    achievement_id BIGINT NOT NULL REFERENCES achievement (id){ DEFERRABLE INITIALLY DEFERRED|},
    channel TEXT NOT NULL,
    status TEXT NOT NULL,
    due_at BIGINT,
    body TEXT NOT NULL,
    CHECK (channel IN ('email', 'phone')),
    CHECK (status IN ('waiting', 'held', 'sending', 'sent', 'failed', 'uncertain')),
    -- Deleted ones count: nobody is told of a certificate twice.
    UNIQUE (achievement_id, channel)
){| WITH (fillfactor = 70)};
CREATE INDEX message_by_account_id ON message (account_id, id);
CREATE INDEX message_by_account_id_status ON message (account_id, status, id);
CREATE INDEX message_due ON message (status, channel, account_id, due_at, id)
    WHERE due_at IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE partner (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    person_id BIGINT NOT NULL REFERENCES person (id){ DEFERRABLE INITIALLY DEFERRED|},
    body TEXT NOT NULL,
    UNIQUE (person_id)
){| WITH (fillfactor = 70)};

CREATE TABLE model (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    -- In the order of code points, which is that of lists.
    provider TEXT{| COLLATE "C"} NOT NULL,
    model_name TEXT{| COLLATE "C"} NOT NULL,
    modality TEXT NOT NULL,
    is_active BIGINT NOT NULL,
    search_key TEXT NOT NULL,
    body TEXT NOT NULL
){| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX model_provider_model_name_live
    ON model (account_id, provider, model_name) WHERE deleted_at IS NULL;
CREATE INDEX model_by_account_id ON model (account_id, id);
CREATE INDEX model_by_model_name ON model (model_name);

CREATE TABLE course (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    course_key TEXT,
    search_key TEXT NOT NULL,
    status TEXT NOT NULL,
    content_item_id TEXT,
    body TEXT NOT NULL,
    UNIQUE (content_item_id)
){| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX course_course_key_live ON course (account_id, course_key) WHERE deleted_at IS NULL;
CREATE INDEX course_by_account_id ON course (account_id, created_at, id);

CREATE TABLE class (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    partner_id BIGINT NOT NULL REFERENCES partner (id){ DEFERRABLE INITIALLY DEFERRED|},
    course_id BIGINT REFERENCES course (id){ DEFERRABLE INITIALLY DEFERRED|},
    primary_model_id BIGINT REFERENCES model (id){ DEFERRABLE INITIALLY DEFERRED|},
    status TEXT NOT NULL,
    body TEXT NOT NULL
){| WITH (fillfactor = 70)};
-- The account is in it for whoever counts: rows need not be looked at.
CREATE INDEX class_by_partner_id ON class (partner_id, created_at, id, account_id)
    WHERE deleted_at IS NULL;
CREATE INDEX class_by_account_id ON class (account_id);
CREATE INDEX class_by_primary_model_id ON class (primary_model_id);
CREATE INDEX class_by_course_id ON class (course_id);

CREATE TABLE invite_code (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    partner_id BIGINT NOT NULL REFERENCES partner (id){ DEFERRABLE INITIALLY DEFERRED|},
    class_id BIGINT NOT NULL REFERENCES class (id){ DEFERRABLE INITIALLY DEFERRED|},
    code TEXT NOT NULL,
    status TEXT NOT NULL,
    expires_at BIGINT,
    body TEXT NOT NULL
){| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX invite_code_code_live ON invite_code (account_id, code) WHERE deleted_at IS NULL;
CREATE INDEX invite_code_by_code ON invite_code (code);
CREATE INDEX invite_code_by_class_id ON invite_code (class_id, id);
CREATE INDEX invite_code_by_partner_id ON invite_code (partner_id);

CREATE TABLE student (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    partner_id BIGINT NOT NULL REFERENCES partner (id){ DEFERRABLE INITIALLY DEFERRED|},
    person_id BIGINT REFERENCES person (id){ DEFERRABLE INITIALLY DEFERRED|},
    email_key TEXT,
    search_key TEXT NOT NULL,
    status TEXT NOT NULL,
    body TEXT NOT NULL
){| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX student_partner_person_live ON student (partner_id, person_id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX student_partner_email_key_live
    ON student (partner_id, email_key) WHERE deleted_at IS NULL;
CREATE INDEX student_by_partner_id ON student (partner_id, created_at, id);
CREATE INDEX student_by_person_id ON student (person_id);
CREATE INDEX student_by_email_key ON student (email_key);

CREATE TABLE membership (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    partner_id BIGINT NOT NULL REFERENCES partner (id){ DEFERRABLE INITIALLY DEFERRED|},
    class_id BIGINT NOT NULL REFERENCES class (id){ DEFERRABLE INITIALLY DEFERRED|},
    student_id BIGINT NOT NULL REFERENCES student (id){ DEFERRABLE INITIALLY DEFERRED|},
    invite_code_id BIGINT REFERENCES invite_code (id){ DEFERRABLE INITIALLY DEFERRED|},
    status TEXT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    body TEXT NOT NULL
){| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX membership_class_student_live
    ON membership (class_id, student_id) WHERE deleted_at IS NULL;
CREATE INDEX membership_by_class_id ON membership (class_id, enrolled_at, id);
CREATE INDEX membership_by_class_id_status ON membership (class_id, status) WHERE deleted_at IS NULL;
CREATE INDEX membership_by_student_id ON membership (student_id, enrolled_at, id);
CREATE INDEX membership_by_partner_id ON membership (partner_id);
CREATE INDEX membership_by_invite_code_id ON membership (invite_code_id);

CREATE TABLE tenant (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    owner_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    alias TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (owner_id),
    UNIQUE (alias)
){ WITHOUT ROWID| WITH (fillfactor = 70)};

CREATE TABLE application (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    tenant_id TEXT NOT NULL REFERENCES tenant (id){ DEFERRABLE INITIALLY DEFERRED|},
    name TEXT NOT NULL,
    client_id TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (client_id)
){ WITHOUT ROWID| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX application_tenant_name_live ON application (tenant_id, name) WHERE deleted_at IS NULL;

CREATE TABLE entity (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    slug TEXT NOT NULL,
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX entity_slug_live ON entity (account_id, slug) WHERE deleted_at IS NULL;

CREATE TABLE crm_record (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    entity_id TEXT NOT NULL REFERENCES entity (id){ DEFERRABLE INITIALLY DEFERRED|},
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};
CREATE INDEX crm_record_by_entity_id ON crm_record (entity_id);

CREATE TABLE relationship_type (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    name TEXT NOT NULL,
    source_entity_id TEXT NOT NULL REFERENCES entity (id){ DEFERRABLE INITIALLY DEFERRED|},
    target_entity_id TEXT NOT NULL REFERENCES entity (id){ DEFERRABLE INITIALLY DEFERRED|},
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX relationship_type_name_source_entity_target_entity_live
    ON relationship_type (account_id, name, source_entity_id, target_entity_id) WHERE deleted_at IS NULL;

CREATE TABLE relationship (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    relationship_type_id TEXT NOT NULL REFERENCES relationship_type (id){ DEFERRABLE INITIALLY DEFERRED|},
    source_entity_id TEXT NOT NULL REFERENCES entity (id){ DEFERRABLE INITIALLY DEFERRED|},
    source_record_id TEXT NOT NULL REFERENCES crm_record (id){ DEFERRABLE INITIALLY DEFERRED|},
    target_entity_id TEXT NOT NULL REFERENCES entity (id){ DEFERRABLE INITIALLY DEFERRED|},
    target_record_id TEXT NOT NULL REFERENCES crm_record (id){ DEFERRABLE INITIALLY DEFERRED|},
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};
CREATE UNIQUE INDEX relationship_relationship_type_source_record_target_record_live
    ON relationship (relationship_type_id, source_record_id, target_record_id) WHERE deleted_at IS NULL;
CREATE INDEX relationship_by_source_record_id ON relationship (source_record_id);
CREATE INDEX relationship_by_target_record_id ON relationship (target_record_id);

CREATE TABLE enrollment (
    id TEXT PRIMARY KEY,
    account_id BIGINT NOT NULL REFERENCES account (id){ DEFERRABLE INITIALLY DEFERRED|},
    version BIGINT NOT NULL CHECK (version > 0),
    change_id BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    course_id BIGINT NOT NULL REFERENCES course (id){ DEFERRABLE INITIALLY DEFERRED|},
    person_id BIGINT NOT NULL REFERENCES person (id){ DEFERRABLE INITIALLY DEFERRED|},
    body TEXT NOT NULL
){ WITHOUT ROWID| WITH (fillfactor = 70)};
CREATE INDEX enrollment_by_person_id ON enrollment (person_id);
CREATE INDEX enrollment_by_course_id ON enrollment (course_id);

-- History. The key is the only index: a record names its newest change, a change the one before.
-- An act is what one command did. Where that is several changes, each has the id of the first as
-- act_id, and the first has the id of the last as act_end; the ids between need not be the act's.
-- What took back an act has the first change of that as undoes.
CREATE TABLE change (
    id {INTEGER|BIGINT} PRIMARY KEY,
    account_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    record_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    previous_id BIGINT,
    act_id BIGINT,
    act_end BIGINT,
    undoes BIGINT,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    dialect TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
);

-- Which records live ones name elsewhere than in columns.
CREATE TABLE link (
    to_kind TEXT NOT NULL,
    to_id TEXT NOT NULL,
    from_kind TEXT NOT NULL,
    from_id TEXT NOT NULL,
    PRIMARY KEY (to_kind, to_id, from_kind, from_id)
){ WITHOUT ROWID|};

-- sqlite:
-- What a large command has written so far: nobody has seen it yet, and should it not come to an end,
-- it goes. Rows stand in their own tables, marked as deleted, and here by their ids; changes and
-- links stand in twins of theirs.
CREATE TABLE staging (
    name TEXT NOT NULL,
    first_id BIGINT NOT NULL,
    last_id BIGINT NOT NULL
);
CREATE TABLE change_staged (
    id INTEGER PRIMARY KEY,
    account_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    record_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    previous_id BIGINT,
    act_id BIGINT,
    act_end BIGINT,
    undoes BIGINT,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    dialect TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
);
CREATE TABLE link_staged (
    to_kind TEXT NOT NULL,
    to_id TEXT NOT NULL,
    from_kind TEXT NOT NULL,
    from_id TEXT NOT NULL,
    PRIMARY KEY (to_kind, to_id, from_kind, from_id)
) WITHOUT ROWID;

-- both:
-- The first answer to each idempotency key, kept for a day, and the first change of what was done.
CREATE TABLE idempotency (
    credential_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status BIGINT NOT NULL,
    headers TEXT NOT NULL,
    body TEXT NOT NULL,
    at BIGINT NOT NULL,
    act_id BIGINT,
    PRIMARY KEY (credential_id, key)
){ WITHOUT ROWID|};
CREATE INDEX idempotency_by_at ON idempotency (at);

-- Access tokens by the hash of their text.
CREATE TABLE token (
    hash TEXT PRIMARY KEY,
    credential_id BIGINT NOT NULL REFERENCES credential (id),
    expires_at BIGINT NOT NULL
){ WITHOUT ROWID|};
CREATE INDEX token_by_expires_at ON token (expires_at);

-- Signatures that were used, until the time after which their date alone refuses them: in the order
-- of that time, so that new ones stand together and so do those to be forgotten.
CREATE TABLE signature (
    expires_at BIGINT NOT NULL,
    credential_id BIGINT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (expires_at, credential_id, digest)
){ WITHOUT ROWID|};

-- Keys, sealed under a master key, which is not in the database; in two slots, for the old and the new
-- master key while one follows the other. Key 0 is a known text, by which a wrong master key is
-- noticed at the start.
CREATE TABLE sealed_key (
    id BIGINT NOT NULL,
    slot BIGINT NOT NULL CHECK (slot IN (1, 2)),
    sealed TEXT NOT NULL,
    PRIMARY KEY (id, slot)
){ WITHOUT ROWID|};
-- postgres:

CREATE SEQUENCE change_id_seq;
CREATE SEQUENCE account_id_seq;
CREATE SEQUENCE person_id_seq;
CREATE SEQUENCE credential_id_seq;
CREATE SEQUENCE design_id_seq;
CREATE SEQUENCE form_id_seq;
CREATE SEQUENCE achievement_id_seq;
CREATE SEQUENCE message_id_seq;
CREATE SEQUENCE partner_id_seq;
CREATE SEQUENCE model_id_seq;
CREATE SEQUENCE course_id_seq;
CREATE SEQUENCE class_id_seq;
CREATE SEQUENCE invite_code_id_seq;
CREATE SEQUENCE student_id_seq;
CREATE SEQUENCE membership_id_seq;
