-- Counters whose windows have ended are found without a look at all others.
CREATE INDEX counters_by_window ON counters (window);
