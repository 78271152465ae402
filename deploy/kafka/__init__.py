"""A real Apache Kafka broker where there is no Docker: for tests and developers."""
