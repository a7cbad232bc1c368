-- What machines had and lost, until it is back: see fleet.Loss.

-- +goose Up

CREATE TABLE loss (
	host_id BIGINT PRIMARY KEY REFERENCES host (id),
	at      BIGINT NOT NULL,
	build   ${TEXT} NOT NULL, -- empty: it is not lower
	cves    INTEGER NOT NULL,
	kbs     INTEGER NOT NULL,
	text    ${TEXT} NOT NULL,
	body    ${BLOB} NOT NULL -- the vulnerabilities and updates, packed as verdicts are
);
CREATE INDEX loss_at ON loss (at);
