"""Settings of chat channels."""

from typing import Self

from pydantic import BaseModel, Field, SecretStr, model_validator


class ChannelSettings(BaseModel):
    """Settings of the section "Chat channels"."""

    channels: tuple[str, ...] = Field(
        default=(),
        description="Channels of your own (a JSON list of `module:object`), beside those that the settings below name.",
    )
    channel_assistant: str | None = Field(
        default=None,
        description="Assistant or graph that answers in chat services (id or name). Unset: the only graph.",
    )
    telegram_token: SecretStr | None = Field(
        default=None, description="Token of a Telegram bot, from @BotFather. Unset: no Telegram."
    )
    telegram_webhook_url: str | None = Field(
        default=None,
        description="Address at which Telegram reaches this server (https URL; `/channels/telegram/events` is added). "
        "Unset: long polling, which needs no address.",
    )
    telegram_webhook_secret: SecretStr | None = Field(
        default=None, description="Secret that Telegram sends with each request. Required with telegram_webhook_url."
    )
    telegram_url: str = Field(
        default="https://api.telegram.org", description="Telegram's Bot API (URL), for a Bot API server of your own."
    )

    @model_validator(mode="after")
    def _check_telegram(self) -> Self:
        if self.telegram_webhook_url is None:
            return self
        if self.telegram_webhook_secret is None:
            # Without it, everyone could send updates to the bot.
            raise ValueError("telegram_webhook_url is set and telegram_webhook_secret is not; set a long random text")
        if not self.telegram_webhook_url.startswith("https://"):
            raise ValueError("telegram_webhook_url: Telegram accepts https addresses only")
        return self
