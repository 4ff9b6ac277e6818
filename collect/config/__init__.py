"""The YAML files a user writes, validated."""
