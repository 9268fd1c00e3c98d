"""Reminders, escalations and deadlines of approvals."""
