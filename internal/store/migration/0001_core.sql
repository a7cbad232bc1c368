-- What the fleet remembers: uploads, machines, verdicts, history. 00xx is for this part,
-- 01xx for who may do what, 02xx for messages. ${…} is what the two databases call
-- differently: see migrate.go. Times are microseconds since 1970, days are days since then.

-- +goose Up

CREATE TABLE upload (
	id       ${ID},
	key      ${TEXT} NOT NULL UNIQUE,
	hash     ${TEXT} NOT NULL,
	name     ${TEXT} NOT NULL,
	size     BIGINT NOT NULL,
	via      ${TEXT} NOT NULL,
	by_whom  ${TEXT} NOT NULL,
	host_id  BIGINT NOT NULL, -- 0: the evidence tells
	received BIGINT NOT NULL,
	state    INTEGER NOT NULL,
	done     BIGINT NOT NULL,
	error    ${TEXT} NOT NULL,
	machines INTEGER NOT NULL
);
CREATE INDEX upload_hash ON upload (hash);
CREATE INDEX upload_state ON upload (state, id);

-- Machines that stand alike share a row: see fleet.Verdicts.
CREATE TABLE verdicts (
	id   ${ID},
	hash ${TEXT} NOT NULL UNIQUE,
	body ${BLOB} NOT NULL
);
CREATE TABLE verdicts_missing (
	verdicts_id BIGINT NOT NULL REFERENCES verdicts (id),
	kb          BIGINT NOT NULL,
	PRIMARY KEY (verdicts_id, kb)
);
CREATE INDEX verdicts_missing_kb ON verdicts_missing (kb, verdicts_id);

CREATE TABLE host (
	id           ${ID},
	version      BIGINT NOT NULL,
	name         ${TEXT} NOT NULL,
	domain       ${TEXT} NOT NULL,
	product_id   ${TEXT} NOT NULL,
	machine_id   ${TEXT} NOT NULL,
	name_key     ${TEXT} NOT NULL, -- lower case, without its domain
	search       ${TEXT} NOT NULL, -- lower case: name and domain
	search_owned ${TEXT} NOT NULL, -- lower case: owner and site
	release      ${TEXT} NOT NULL,
	release_name ${TEXT} NOT NULL,
	product      ${TEXT} NOT NULL,
	edition      ${TEXT} NOT NULL,
	arch         ${TEXT} NOT NULL,
	role         ${TEXT} NOT NULL,
	core         INTEGER NOT NULL,
	build        ${TEXT} NOT NULL,
	support      ${TEXT} NOT NULL,
	support_ends INTEGER NOT NULL,
	level        INTEGER NOT NULL,
	worst        BIGINT NOT NULL,
	headline     ${TEXT} NOT NULL,
	affected     INTEGER NOT NULL,
	unfixable    INTEGER NOT NULL,
	unknown      INTEGER NOT NULL,
	exploited    INTEGER NOT NULL,
	ransomware   INTEGER NOT NULL,
	critical     INTEGER NOT NULL,
	missing      INTEGER NOT NULL,
	undecided    INTEGER NOT NULL,
	behind       INTEGER NOT NULL, -- months; -1 where it cannot be told
	newest       BIGINT NOT NULL,
	latest       BIGINT NOT NULL,
	restart      INTEGER NOT NULL,
	gaps         INTEGER NOT NULL,
	as_of        INTEGER NOT NULL,
	catalog      ${TEXT} NOT NULL,
	assessed     BIGINT NOT NULL,
	verdicts_id  BIGINT NOT NULL REFERENCES verdicts (id),
	owner        ${TEXT} NOT NULL,
	site         ${TEXT} NOT NULL,
	criticality  INTEGER NOT NULL,
	entitlement  ${TEXT} NOT NULL,
	retired      BOOLEAN NOT NULL,
	merged_into  BIGINT NOT NULL, -- 0: it is a machine of its own
	first_seen   BIGINT NOT NULL,
	last_seen    BIGINT NOT NULL
);
CREATE INDEX host_name ON host (name_key, id);
CREATE INDEX host_product ON host (product_id);
CREATE INDEX host_machine ON host (machine_id);
CREATE INDEX host_verdicts ON host (verdicts_id);
CREATE INDEX host_worst ON host (retired, worst, id);
CREATE INDEX host_seen ON host (retired, last_seen, id);

CREATE TABLE host_tag (
	host_id BIGINT NOT NULL REFERENCES host (id),
	tag     ${TEXT} NOT NULL,
	PRIMARY KEY (host_id, tag)
);
CREATE INDEX host_tag_tag ON host_tag (tag, host_id);

CREATE TABLE sighting (
	id         ${ID},
	upload_id  BIGINT NOT NULL REFERENCES upload (id),
	part       INTEGER NOT NULL,
	host_id    BIGINT NOT NULL, -- 0: given to none
	name       ${TEXT} NOT NULL,
	domain     ${TEXT} NOT NULL,
	product_id ${TEXT} NOT NULL,
	machine_id ${TEXT} NOT NULL,
	seen       BIGINT NOT NULL,
	stated     BOOLEAN NOT NULL,
	readers    ${TEXT} NOT NULL,
	base       BOOLEAN NOT NULL,
	current    BOOLEAN NOT NULL,
	gaps       INTEGER NOT NULL,
	body       ${BLOB}, -- what it says, while it is current or given to none
	UNIQUE (upload_id, part)
);
CREATE INDEX sighting_host ON sighting (host_id, seen);

CREATE TABLE host_change (
	id             ${ID},
	host_id        BIGINT NOT NULL REFERENCES host (id),
	at             BIGINT NOT NULL,
	as_of          INTEGER NOT NULL,
	cause          ${TEXT} NOT NULL,
	upload_id      BIGINT NOT NULL,
	first          BOOLEAN NOT NULL,
	new            INTEGER NOT NULL,
	closed         INTEGER NOT NULL,
	exploited      INTEGER NOT NULL,
	build_before   ${TEXT} NOT NULL,
	build_now      ${TEXT} NOT NULL,
	release_before ${TEXT} NOT NULL,
	release_now    ${TEXT} NOT NULL,
	level_before   INTEGER NOT NULL,
	level_now      INTEGER NOT NULL,
	support_before ${TEXT} NOT NULL,
	support_now    ${TEXT} NOT NULL,
	headline       ${TEXT} NOT NULL,
	body           ${BLOB} -- oldguard/change/1, packed
);
CREATE INDEX host_change_host ON host_change (host_id, id);
CREATE INDEX host_change_exploited ON host_change (exploited, id);

CREATE TABLE conflict (
	id          ${ID},
	kind        ${TEXT} NOT NULL,
	host_id     BIGINT NOT NULL,
	other_id    BIGINT NOT NULL,
	sighting_id BIGINT NOT NULL,
	text        ${TEXT} NOT NULL,
	at          BIGINT NOT NULL,
	resolved    BIGINT NOT NULL,
	by_whom     ${TEXT} NOT NULL
);
CREATE INDEX conflict_open ON conflict (resolved, host_id);

CREATE TABLE note (
	id      ${ID},
	host_id BIGINT NOT NULL REFERENCES host (id),
	at      BIGINT NOT NULL,
	by_whom ${TEXT} NOT NULL,
	text    ${TEXT} NOT NULL
);
CREATE INDEX note_host ON note (host_id, id);

CREATE TABLE risk (
	id      ${ID},
	host_id BIGINT NOT NULL, -- 0: every machine
	cve     ${TEXT} NOT NULL,
	kind    ${TEXT} NOT NULL,
	reason  ${TEXT} NOT NULL,
	by_whom ${TEXT} NOT NULL,
	at      BIGINT NOT NULL,
	until   INTEGER NOT NULL
);
CREATE INDEX risk_host ON risk (host_id);

CREATE TABLE catalog (
	digest  ${TEXT} PRIMARY KEY,
	sources ${TEXT} NOT NULL, -- JSON
	at      BIGINT NOT NULL
);

CREATE TABLE run (
	id      ${ID},
	cause   ${TEXT} NOT NULL,
	catalog ${TEXT} NOT NULL,
	as_of   INTEGER NOT NULL,
	begun   BIGINT NOT NULL,
	done    BIGINT NOT NULL,
	last    BIGINT NOT NULL,
	hosts   INTEGER NOT NULL,
	changed INTEGER NOT NULL
);

CREATE TABLE day (
	day        INTEGER NOT NULL,
	release    ${TEXT} NOT NULL,
	hosts      INTEGER NOT NULL,
	clear      INTEGER NOT NULL,
	undecided  INTEGER NOT NULL,
	bad        INTEGER NOT NULL,
	exploited  INTEGER NOT NULL,
	ransomware INTEGER NOT NULL,
	over       INTEGER NOT NULL,
	affected   BIGINT NOT NULL,
	missing    BIGINT NOT NULL,
	unseen     INTEGER NOT NULL,
	PRIMARY KEY (day, release)
);
