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
    channel_link_days: float | None = Field(
        default=None,
        gt=0,
        le=36_500,
        description="Age at which the link of a chat user to an account ends (days), and has to be made again. Unset: "
        "never.",
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
    slack_bot_token: SecretStr | None = Field(
        default=None, description="Bot token of a Slack app (`xoxb-...`). Unset: no Slack."
    )
    slack_app_token: SecretStr | None = Field(
        default=None,
        description="App-level token of the Slack app (`xapp-...`), for socket mode, which needs no address.",
    )
    slack_signing_secret: SecretStr | None = Field(
        default=None,
        description="Signing secret of the Slack app, for requests of Slack to `/channels/slack/events`.",
    )
    slack_url: str = Field(
        default="https://slack.com/api/", description="Slack's Web API (URL), such as that of a proxy."
    )
    feishu_app_id: str | None = Field(
        default=None, description="App ID of a Feishu or Lark app (`cli_...`). Unset: no Feishu."
    )
    feishu_app_secret: SecretStr | None = Field(
        default=None, description="App secret of the Feishu or Lark app. Required with feishu_app_id."
    )
    feishu_url: str = Field(
        default="https://open.feishu.cn",
        description="Open platform of the app (URL); `https://open.larksuite.com` for Lark.",
    )

    @model_validator(mode="after")
    def _check_feishu(self) -> Self:
        if self.feishu_app_id is not None and self.feishu_app_secret is None:
            raise ValueError("feishu_app_id is set and feishu_app_secret is not; copy it from the developer console")
        return self

    @model_validator(mode="after")
    def _check_slack(self) -> Self:
        if self.slack_bot_token is not None and self.slack_app_token is None and self.slack_signing_secret is None:
            raise ValueError("slack_bot_token is set; set slack_app_token (socket mode) or slack_signing_secret (HTTP)")
        return self

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
