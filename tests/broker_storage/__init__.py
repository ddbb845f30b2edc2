"""Tests of the embedded broker: data folder, admin REST, admin client."""
