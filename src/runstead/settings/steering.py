"""Settings of steering messages."""

from pydantic import BaseModel, Field


class SteeringSettings(BaseModel):
    """Settings of the section "Steering"."""

    steering_max_messages: int = Field(
        default=100, ge=1, description="Messages that may wait on one thread (count); more are refused."
    )
    steering_max_bytes: int = Field(
        default=1024 * 1024,
        ge=1,
        description="Bytes of the messages that wait on one thread together (bytes); more are refused.",
    )
    channel_steering: bool = Field(
        default=False,
        description="Send a message that arrives in a chat service during a run to that run, instead of starting the "
        "next one.",
    )
