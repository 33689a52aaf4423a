// YAJL, an event-driven JSON parser. Only the JSON target imports this module.
#pragma once
#include <yajl/yajl_parse.h>
