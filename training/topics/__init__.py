"""Topics: found by BERTopic, and kept under the ids that they have."""
