#!/usr/bin/env bash
# Makes .tools/sam, the AWS SAM command line.
exec "$(dirname "$0")/tool.sh" sam
