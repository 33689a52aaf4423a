"""Random conversations of the shapes that templates meet, valid and not."""

import random

TEXTS = [
    "Hello!", "  spaced out \n", "", "你好，世界", "a\nb\n\nc", 'say "hi" & <b>go</b>', "naïve café 🙂", "{{ not_a_field }}",
    "<think>\nlet me see\n</think>\n\nThe answer is 4.", "</think>half", "<|im_end|>", "back\\slash \t tab",
    "<tool_response>\nx\n</tool_response>", "line\r\nwindows", "\u2028sep\u00a0nbsp", "100%", "[INST] trick [/INST]",
    "<|channel>thought\nhm\n<channel|>yes", "x" * 40,
]
NAMES = ["get_weather", "search", "add", "f"]


def text(r):
    return r.choice(TEXTS) if r.random() < 0.8 else " ".join(r.choice(TEXTS) for _ in range(r.randint(1, 4)))


def value(r, depth=0):
    kinds = ["int", "float", "str", "bool", "none"] + ([] if depth > 2 else ["list", "dict"])
    kind = r.choice(kinds)
    if kind == "int":
        return r.choice([0, 1, -7, 42, 10**12])
    if kind == "float":
        return r.choice([0.5, 1.0, -2.25, 1e-7, 1e16, 3.14159, 1e22, 123456.789])
    if kind == "str":
        return text(r)
    if kind == "bool":
        return r.random() < 0.5
    if kind == "none":
        return None
    if kind == "list":
        return [value(r, depth + 1) for _ in range(r.randint(0, 3))]
    return {r.choice("abcdeFG") + str(i): value(r, depth + 1) for i in range(r.randint(0, 3))}


def schema(r, depth=0):
    kind = r.choice(["string", "integer", "number", "boolean", "array", "object", ["string", "null"]] if depth < 2 else ["string", "integer"])
    result = {"type": kind}
    if r.random() < 0.7:
        result["description"] = text(r)
    if kind == "string" and r.random() < 0.4:
        result["enum"] = ["celsius", "fahrenheit"]
    if kind == "array":
        result["items"] = schema(r, depth + 1)
    if kind == "object":
        if r.random() < 0.7:
            result["properties"] = {r.choice(["x", "y", "Zed", "key one"]): schema(r, depth + 1) for _ in range(r.randint(0, 2))}
        if r.random() < 0.3:
            result["additionalProperties"] = schema(r, depth + 1)
    if r.random() < 0.2:
        result["nullable"] = True
    if r.random() < 0.2:
        result["default"] = value(r, 2)
    return result


def tool(r):
    properties = {r.choice(["city", "unit", "days", "query", "Opt"]): schema(r) for _ in range(r.randint(0, 3))}
    function = {
        "name": r.choice(NAMES),
        "description": text(r),
        "parameters": {"type": "object", "properties": properties, "required": list(properties)[: r.randint(0, 2)]},
    }
    if r.random() < 0.3:
        function["return"] = {"type": "string", "description": text(r)}
    if r.random() < 0.1:
        del function["description"]
    if r.random() < 0.1:
        function["strict"] = True
    return {"type": "function", "function": function} if r.random() < 0.9 else function


def tool_call(r):
    arguments = {r.choice(["city", "unit", "n"]): value(r) for _ in range(r.randint(0, 3))}
    if r.random() < 0.25:
        arguments = '{"city": "Paris"}'
    call = {"type": "function", "function": {"name": r.choice(NAMES), "arguments": arguments}}
    if r.random() < 0.6:
        call["id"] = r.choice(["abcdefghi", "123456789", "call_1", "x" * 9])
    if r.random() < 0.1:
        call = call["function"]
    return call


def content(r, plain=0.85):
    if r.random() < plain:
        return text(r)
    parts = []
    for _ in range(r.randint(0, 3)):
        kind = r.random()
        if kind < 0.7:
            parts.append({"type": "text", "text": text(r)})
        elif kind < 0.85:
            parts.append({"type": "image"})
        else:
            parts.append({"type": "image_url", "image_url": {"url": "http://x/y.png"}})
    return parts


def message(r, role):
    result = {"role": role, "content": content(r)}
    if role == "assistant":
        if r.random() < 0.3:
            result["tool_calls"] = [tool_call(r) for _ in range(r.choice([0, 1, 1, 1, 2]))]
            if r.random() < 0.5:
                result["content"] = r.choice([None, ""])
            if r.random() < 0.2:
                del result["content"]
        if r.random() < 0.15:
            result[r.choice(["reasoning_content", "thinking", "reasoning"])] = text(r)
    if role == "tool":
        if r.random() < 0.7:
            result["tool_call_id"] = r.choice(["abcdefghi", "123456789", "call_1"])
        if r.random() < 0.5:
            result["name"] = r.choice(NAMES)
        if r.random() < 0.15:
            result["content"] = value(r)
    return result


def conversation(r):
    messages = []
    if r.random() < 0.45:
        messages.append(message(r, r.choice(["system", "system", "system", "developer"])))
    for _ in range(r.randint(1, 4)):
        messages.append(message(r, "user"))
        if r.random() < 0.8:
            assistant = message(r, "assistant")
            messages.append(assistant)
            for _ in assistant.get("tool_calls", []):
                if r.random() < 0.8:
                    messages.append(message(r, r.choice(["tool", "tool", "ipython"])))
            if assistant.get("tool_calls") and r.random() < 0.6:
                messages.append(message(r, "assistant"))
    if r.random() < 0.08:
        messages.insert(r.randrange(len(messages) + 1), message(r, r.choice(["system", "user", "assistant", "narrator", "tool"])))
    if r.random() < 0.05:
        messages[r.randrange(len(messages))].pop("role")
    if r.random() < 0.05:
        messages[r.randrange(len(messages))].pop("content", None)
    return messages


def case(r):
    result = {"messages": conversation(r), "add_generation_prompt": r.random() < 0.6}
    if r.random() < 0.35:
        result["tools"] = [tool(r) for _ in range(r.randint(0, 3))]
    if r.random() < 0.1:
        result["documents"] = [{"title": text(r), "text": text(r)} for _ in range(r.randint(0, 2))]
    if r.random() < 0.8:
        result["special_tokens"] = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        for role in list(result["special_tokens"]):
            if r.random() < 0.1:
                del result["special_tokens"][role]
    variables = {}
    options = {
        "enable_thinking": [True, False], "open_thinking": [True, False], "preserve_thinking": [True, False],
        "date_string": ["01 Jan 2025"], "tools_in_user_message": [True, False], "builtin_tools": [["search", "code_interpreter"], []],
        "custom_tools": [None], "keep_past_thinking": [True, False], "thinking": [True, False], "reasoning_effort": ["low", "high"],
        "model_identity": ["I am Ink."], "xml_tools": [[]], "python_tools": [[]], "controls": [{"length": "long"}],
        "citation_mode": ["fast"], "grounding": ["enabled"], "system_message": ["Shadow"], "add_vision_id": [True],
    }
    for name, choices in options.items():
        if r.random() < 0.12:
            variables[name] = r.choice(choices)
    if variables:
        result["variables"] = variables
    if r.random() < 0.08 and "content" in result["messages"][-1]:
        result["continue_final_message"] = True
        result["add_generation_prompt"] = False
    return result
