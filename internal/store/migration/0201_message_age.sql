-- Messages and alerts are forgotten when they are old; recent changes are looked for by time.

-- +goose Up

CREATE INDEX delivery_made ON delivery (made);
CREATE INDEX told_alert ON told (alert_id);
