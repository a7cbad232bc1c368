-- What people are told of: see package fleet/alert. Settings of channels hold secrets as
-- they are, since they are needed to send.

-- +goose Up

CREATE TABLE alert (
	id        ${ID},
	rule      ${TEXT} NOT NULL,
	key       ${TEXT} NOT NULL,
	severity  INTEGER NOT NULL,
	host_id   BIGINT NOT NULL, -- 0: none in particular
	path      ${TEXT} NOT NULL,
	title     ${TEXT} NOT NULL,
	text      ${TEXT} NOT NULL,
	opened    BIGINT NOT NULL,
	closed    BIGINT NOT NULL,
	ack_by    ${TEXT} NOT NULL,
	ack_note  ${TEXT} NOT NULL,
	ack_at    BIGINT NOT NULL,
	ack_until BIGINT NOT NULL
);
CREATE INDEX alert_closed ON alert (closed, ack_until, id);

CREATE TABLE channel (
	id       ${ID},
	name     ${TEXT} NOT NULL,
	kind     ${TEXT} NOT NULL,
	settings ${TEXT} NOT NULL -- JSON
);

CREATE TABLE route (
	id         ${ID},
	channel_id BIGINT NOT NULL REFERENCES channel (id),
	body       ${TEXT} NOT NULL -- JSON
);

CREATE TABLE told (
	route_id BIGINT NOT NULL,
	alert_id BIGINT NOT NULL,
	at       BIGINT NOT NULL,
	severity INTEGER NOT NULL,
	ended    BOOLEAN NOT NULL,
	PRIMARY KEY (route_id, alert_id)
);

CREATE TABLE delivery (
	id         ${ID},
	channel_id BIGINT NOT NULL,
	route_id   BIGINT NOT NULL, -- 0: a test
	name       ${TEXT} NOT NULL, -- of the channel
	made       BIGINT NOT NULL,
	message    ${TEXT} NOT NULL, -- JSON
	state      INTEGER NOT NULL,
	attempts   INTEGER NOT NULL,
	process    ${TEXT} NOT NULL,
	changed    BIGINT NOT NULL,
	error      ${TEXT} NOT NULL
);
CREATE INDEX delivery_state ON delivery (state);
