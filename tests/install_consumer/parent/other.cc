// SPDX-License-Identifier: Apache-2.0
// The parent's own: a target with a name that bisparse uses too.
int main() { return 0; }
