-- The last rollout of an agent, and its versions that were withdrawn: JSON, or "".
ALTER TABLE agents ADD COLUMN rollout TEXT NOT NULL DEFAULT '';
