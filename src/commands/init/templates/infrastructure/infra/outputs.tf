output "greeting" {
  value = terraform_data.greeting.output.text
}
