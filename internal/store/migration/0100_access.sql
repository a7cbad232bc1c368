-- Who may do what: see package access. Secrets are kept as digests only.

-- +goose Up

CREATE TABLE account (
	id        ${ID},
	name      ${TEXT} NOT NULL UNIQUE,
	full_name ${TEXT} NOT NULL,
	email     ${TEXT} NOT NULL,
	role      INTEGER NOT NULL,
	hash      ${TEXT} NOT NULL, -- of the password; empty for those who log in elsewhere
	issuer    ${TEXT} NOT NULL,
	subject   ${TEXT} NOT NULL,
	disabled  BOOLEAN NOT NULL,
	created   BIGINT NOT NULL,
	last_seen BIGINT NOT NULL
);
CREATE INDEX account_subject ON account (issuer, subject);

CREATE TABLE token (
	id         ${ID},
	account_id BIGINT NOT NULL REFERENCES account (id),
	name       ${TEXT} NOT NULL,
	digest     ${TEXT} NOT NULL UNIQUE,
	scopes     ${TEXT} NOT NULL,
	created    BIGINT NOT NULL,
	expires    BIGINT NOT NULL,
	last_used  BIGINT NOT NULL,
	revoked    BOOLEAN NOT NULL
);
CREATE INDEX token_account ON token (account_id);

CREATE TABLE session (
	digest     ${TEXT} PRIMARY KEY,
	account_id BIGINT NOT NULL REFERENCES account (id),
	csrf       ${TEXT} NOT NULL,
	created    BIGINT NOT NULL,
	expires    BIGINT NOT NULL,
	address    ${TEXT} NOT NULL,
	agent      ${TEXT} NOT NULL
);
CREATE INDEX session_account ON session (account_id);
CREATE INDEX session_expires ON session (expires);

-- The code of the link of the first start: at most one row.
CREATE TABLE setup (
	slot    INTEGER PRIMARY KEY CHECK (slot = 1),
	digest  ${TEXT} NOT NULL,
	expires BIGINT NOT NULL
);

CREATE TABLE audit (
	id       ${ID},
	at       BIGINT NOT NULL,
	by_whom  ${TEXT} NOT NULL,
	token_id BIGINT NOT NULL,
	address  ${TEXT} NOT NULL,
	action   ${TEXT} NOT NULL,
	object   ${TEXT} NOT NULL,
	detail   ${TEXT} NOT NULL,
	ok       BOOLEAN NOT NULL
);
CREATE INDEX audit_by ON audit (by_whom, id);
CREATE INDEX audit_action ON audit (action, id);

-- +goose StatementBegin
${APPEND_ONLY_AUDIT}
-- +goose StatementEnd
