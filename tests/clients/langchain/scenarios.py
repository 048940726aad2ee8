"""What users of LangChain's Gemini classes do. `python scenarios.py NAME [JSON]` runs one scenario against the gateway
of GATEWAY_URL with the key of GATEWAY_KEY, and writes what its user would see as JSON."""

import json
import os
import sys
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings
from langchain_google_genai.chat_models import ChatGoogleGenerativeAIError

HERE = {"base_url": os.environ["GATEWAY_URL"], "google_api_key": os.environ["GATEWAY_KEY"]}


def chat(model: str, **options: Any) -> ChatGoogleGenerativeAI:
    return ChatGoogleGenerativeAI(model=model, max_retries=1, **HERE, **options)


def invoke(model: str, prompt: str) -> Any:
    answer = chat(model).invoke(prompt)
    return {"text": answer.text, "usage": answer.usage_metadata, "finish": answer.response_metadata["finish_reason"]}


def stream(model: str, prompt: str) -> Any:
    chunks = list(chat(model).stream(prompt))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return {"text": whole.text, "chunks": len(chunks), "usage": whole.usage_metadata}


def tools(model: str, prompt: str) -> Any:
    """The loop of an agent: the model's messages go back as LangChain keeps them."""

    @tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    bound = chat(model).bind_tools([get_weather])
    messages: list[BaseMessage] = [HumanMessage(prompt)]
    asked: list[str] = []
    while True:
        answer = bound.invoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            return {"asked": asked, "text": answer.text}
        for call in answer.tool_calls:
            asked.append(call["args"]["city"])
            messages.append(ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]))


def structured(model: str, prompt: str) -> Any:
    schema = {"title": "City", "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    return chat(model).with_structured_output(schema, method="json_schema").invoke(prompt)


def embed(model: str, texts: list[str], size: int) -> Any:
    embedder = GoogleGenerativeAIEmbeddings(model=model, output_dimensionality=size, **HERE)
    return [len(vector) for vector in [*embedder.embed_documents(texts), embedder.embed_query("one")]]


def refused(model: str, prompt: str) -> Any:
    try:
        chat(model).invoke(prompt)
    except ChatGoogleGenerativeAIError as error:
        return {"kind": type(error).__name__, "message": str(error)}
    return {"kind": None}


SCENARIOS = {each.__name__: each for each in (invoke, stream, tools, structured, embed, refused)}

if __name__ == "__main__":
    name, options = sys.argv[1], json.loads(sys.argv[2])
    json.dump(SCENARIOS[name](**options), sys.stdout)
