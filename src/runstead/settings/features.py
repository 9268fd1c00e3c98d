"""Settings of files, crons, webhooks, and encryption at rest."""

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr


class FeatureSettings(BaseModel):
    """Settings of the sections "Files", "Crons", "Webhooks" and "Encryption at rest"."""

    # --- files -----------------------------------------------------------------------------------------------------
    files_dir: Path | None = Field(
        default=None,
        description="Folder for the files of threads; in a cluster, one that all servers and workers share. Unset: "
        "files in the data directory, and none in a cluster.",
    )
    files_url: str | None = Field(
        default=None,
        description="Bucket for the files of threads, in place of a folder: s3://bucket/prefix, of any S3-compatible "
        "store. Credentials, region and endpoint are read from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION "
        "and AWS_ENDPOINT_URL, or from the machine's role.",
    )
    files_cache_bytes: int = Field(
        default=1024 * 1024 * 1024,
        ge=0,
        description="Size of the files of a bucket that a process keeps between runs, in its folder for temporary "
        "files (bytes).",
    )
    files_max_file_bytes: int = Field(
        default=100 * 1024 * 1024, ge=1, description="Maximum size of a file, and of all files in one upload (bytes)."
    )
    files_user_bytes: int = Field(
        default=1024 * 1024 * 1024,
        ge=1,
        description="Size of all files of a user, beyond which uploads are refused (bytes). What agents write counts, "
        "but is not refused.",
    )

    # --- crons -----------------------------------------------------------------------------------------------------
    cron_grace_seconds: float = Field(
        default=86_400,
        ge=0,
        description="Maximum delay for catching up (seconds): executions missed during downtime are merged into one "
        "run if the last one is at most this old.",
    )

    # --- webhooks --------------------------------------------------------------------------------------------------
    webhook_secrets: SecretStr | None = Field(
        default=None,
        description="Secrets that sign webhooks: whsec_ and base64. Several, separated by spaces, all sign, for "
        "rotation. Unset: webhooks are not signed.",
    )
    webhook_timeout_seconds: float = Field(
        default=10, gt=0, le=300, description="Time limit for the receiver's answer (seconds)."
    )
    webhook_max_attempts: int = Field(default=8, ge=1, description="Attempts of one delivery (count).")
    webhook_retry_seconds: float = Field(
        default=5, gt=0, description="First pause between two attempts (seconds); later pauses are longer."
    )
    webhook_feedback: bool = Field(
        default=False, description="Call the webhook of a run also for feedback on the run (docs/feedback.md)."
    )
    webhook_allow_loopback: bool = Field(default=False, description="Allow webhooks to this machine; for development.")

    # --- encryption at rest ----------------------------------------------------------------------------------------
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Keys of encryption at rest: base64 of 32 bytes, as `runstead encryption new-key` "
        "prints one. Several, separated by spaces: the first one encrypts, all of them decrypt. Unset: "
        "LANGGRAPH_AES_KEY if that is set, else nothing is encrypted.",
    )
    encryption_keys_file: Path | None = Field(
        default=None, description="A file with these keys, one a line (path), instead of `encryption_keys`."
    )
    encryption_json_keys: tuple[str, ...] = Field(
        default=(),
        description="Keys of metadata whose values are encrypted too (a JSON list), and then cannot be searched for. "
        "LANGGRAPH_AES_JSON_KEYS adds to them.",
    )
