"""LangChain callbacks that collect what a run did."""
